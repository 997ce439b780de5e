# SPDX-License-Identifier: Apache-2.0
"""The learning rates equal deeplab2's."""

import json

from deeplab2_like.trainer import schedules

FAMILY = "schedules"


def test_learning_rates_equal_the_reference(reference_case):
    cases = json.loads(reference_case.path.read_text())
    with reference_case(entries=cases) as case:
        for name, expected in cases.items():
            options = expected["options"]
            schedule = schedules.LearningRate(
                options["base_learning_rate"],
                options["training_number_of_steps"],
                policy=options.get("learning_policy", "poly"),
                power=options.get("poly_learning_power", 0.9),
                end_learning_rate=options.get("poly_end_learning_rate", 0.0),
                warmup_steps=options.get("warmup_steps", 0),
            )
            case.compare_value(
                name,
                [float(schedule(step)) for step in expected["steps"]],
                expected["lr"],
                rtol=2e-6,
                atol=1e-6 * options["base_learning_rate"],
            )
