# SPDX-License-Identifier: Apache-2.0
"""The program that shows a ledger."""

import json

import pytest

from deeplab2_like import errors
from deeplab2_like.trainer.ledger import events, main


def _run(*arguments):
    main._FLAGS.unparse_flags()
    for name in main._FLAGS:
        main._FLAGS[name].unparse()
    main._main(main._FLAGS(["deeplab2-ledger", *map(str, arguments)])[1:])


@pytest.fixture
def model_dir(tmp_path):
    ledger = events.Ledger(tmp_path)
    with ledger.attempt(ledger.clock() - 10, batch_size=2, replicas=1):
        ledger.add("restore", seconds=0.0, step=0)
        ledger.add("first_step", seconds=4.0, step=1, steps=1, input_wait=0.0)
        ledger.add_loop(5, 4, 2.0, 0.5)
    return tmp_path


def test_a_table_or_json_is_printed(model_dir, capsys):
    _run(model_dir)
    text = capsys.readouterr().out
    assert "productive steps" in text
    assert "wall time" in text
    assert "Step 5 in 1 start." in text
    _run(model_dir, "--json")
    values = json.loads(capsys.readouterr().out)
    assert values["last_step"] == 5
    assert set(values["lost_seconds"]) >= {"input_wait", "save", "done_twice"}


@pytest.mark.parametrize("arguments", [(), ("a", "b")])
def test_one_folder_is_given(arguments):
    with pytest.raises(errors.ConfigError, match="Give one folder of a run"):
        _run(*arguments)


def test_an_address_that_is_not_known_is_no_traceback():
    with pytest.raises(OSError, match="'nosuch' not implemented"):
        _run("nosuch://bucket/run")


def test_a_folder_without_events_is_refused(tmp_path):
    with pytest.raises(errors.DataError, match="has no events"):
        _run(tmp_path)
