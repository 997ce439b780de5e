# SPDX-License-Identifier: Apache-2.0
"""The launch scripts: their syntax, what they start, and when again."""

import json
import os
import pathlib
import signal
import subprocess

import pytest
import yaml

from deeplab2_like import errors
from deeplab2_like.trainer import main, workers

_FOLDER = pathlib.Path(__file__).parents[2] / "trainer" / "launch"
_SCRIPTS = ("slurm.sh", "tpu_pod.sh")
_JOB = "kubernetes-job.yaml"
_VERSIONS = ("1.31", "1.37")


@pytest.mark.parametrize("name", _SCRIPTS)
def test_the_scripts_are_programs_of_bash(name):
    file = _FOLDER / name
    assert os.access(file, os.X_OK)
    assert file.read_text().startswith("#!/bin/bash\n")
    subprocess.run(["bash", "-n", str(file)], check=True)


@pytest.fixture
def start(tmp_path):
    """Returns a function that runs a script with a stand-in for a program."""
    calls = tmp_path / "calls"

    def run(script, name, codes, *arguments, saves=True, **variables):
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        counter = tmp_path / "count"
        counter.write_text("0")
        program = tmp_path / name
        program.write_text(
            "#!/bin/bash\n"
            f'echo "$*" >> {calls}\n'
            f"codes=({' '.join(map(str, codes))})\n"
            f"count=$(cat {counter})\n"
            f"echo $((count + 1)) > {counter}\n"
            + f"touch {folder}/ckpt-$count.index\n" * saves
            + "exit ${codes[$count]}\n"
        )
        program.chmod(0o755)
        done = subprocess.run(
            [str(_FOLDER / script), *arguments],
            cwd=tmp_path,
            env={
                "PATH": f"{tmp_path}:{os.environ['PATH']}",
                "WAIT_SECONDS": "0",
                **variables,
            },
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        lines = calls.read_text().splitlines() if calls.exists() else []
        return done.returncode, lines

    return run


def _parse_flags(line):
    """Returns the flags of deeplab2-train in a line."""
    words = line.split()
    words = words[words.index("deeplab2-train") :]
    main._FLAGS.unparse_flags()
    for name in main._FLAGS:
        main._FLAGS[name].unparse()
    assert main._FLAGS(words)[1:] == []
    return main._FLAGS


@pytest.mark.parametrize(
    ("codes", "code", "starts"),
    [([0], 0, 1), ([75, 137, 0], 0, 3), ([2], 2, 1), ([75, 5], 5, 2)],
)
def test_slurm_starts_again_after_a_lost_worker(start, codes, code, starts):
    found, lines = start(
        "slurm.sh", "srun", codes, "c.textproto", "run", "--mode=train"
    )
    assert found == code
    assert len(lines) == starts
    flags = _parse_flags(lines[0])
    assert flags["config_file"].value == "c.textproto"
    assert flags["model_dir"].value == "run"
    assert flags["num_gpus"].value == -1


def test_slurm_gives_up_after_some_starts(start):
    codes = [75] * 3
    variables = {"MOST_STARTS": "3"}
    found, lines = start("slurm.sh", "srun", codes, "c", "run", **variables)
    assert (found, len(lines)) == (75, 3)


@pytest.mark.parametrize(
    ("folder", "starts"), [("run", 2), ("gs://bucket/run", 5)]
)
def test_slurm_ends_after_two_starts_that_save_nothing(start, folder, starts):
    """As where one worker finds an error and the others end with 75."""
    found, lines = start(
        "slurm.sh", "srun", [75] * 4 + [0], "c", folder, saves=False
    )
    assert found == (0 if starts == 5 else 75)
    assert len(lines) == starts


def test_slurm_says_how_it_is_used(start):
    assert start("slurm.sh", "srun", [0], "c")[0] == 2


def test_slurm_passes_sigterm_on_and_starts_nothing_after_it(tmp_path):
    srun = tmp_path / "srun"
    srun.write_text(
        "#!/bin/bash\ntrap 'exit 75' TERM\necho started\n"
        "while true; do sleep 0.1; done\n"
    )
    srun.chmod(0o755)
    scontrol = tmp_path / "scontrol"
    scontrol.write_text('#!/bin/bash\necho "scontrol $*"\n')
    scontrol.chmod(0o755)
    process = subprocess.Popen(
        [str(_FOLDER / "slurm.sh"), "c", "r"],
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_JOB_ID": "7"},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout.readline() == "started\n"
    process.send_signal(signal.SIGTERM)
    text, _ = process.communicate(timeout=60)
    assert process.returncode == 75
    assert text.count("started") == 0
    assert text.endswith("scontrol requeue 7\n")


def test_a_pod_is_controlled_by_its_first_machine(start):
    found, lines = start(
        "tpu_pod.sh",
        "gcloud",
        [255, 75, 0],
        "train",
        "c.textproto",
        "gs://bucket/run",
        TPU_NAME="mine",
        ZONE="z",
    )
    assert found == 0
    assert len(lines) == 3
    assert "--worker=0" in lines[0]
    assert "TPU_LOAD_LIBRARY=0" in lines[0]
    assert _parse_flags(lines[0])["master"].value == "mine"


def test_a_pod_is_set_up_on_all_machines(start):
    found, (line,) = start(
        "tpu_pod.sh", "gcloud", [0], "setup", TPU_NAME="mine", ZONE="z"
    )
    assert found == 0
    assert "--worker=all" in line
    assert "pip install" in line


def test_a_pod_has_a_name(start):
    assert start("tpu_pod.sh", "gcloud", [0], "setup", ZONE="z") == (1, [])
    variables = {"TPU_NAME": "mine", "ZONE": "z"}
    assert start("tpu_pod.sh", "gcloud", [0], **variables) == (2, [])


def _load():
    text = (_FOLDER / _JOB).read_text(encoding="utf-8")
    return [document for document in yaml.safe_load_all(text) if document]


def _find(kind):
    (found,) = [x for x in _load() if x["kind"] == kind]
    return found


def _container():
    pod = _find("Job")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    return container


@pytest.mark.parametrize("version", _VERSIONS)
def test_the_job_is_as_the_schemas_say(version):
    validate = pytest.importorskip("kubernetes_validate")
    documents = _load()
    assert {document["kind"] for document in documents} == {"Job", "Service"}
    for document in documents:
        validate.validate(document, version, strict=True)


def test_the_service_names_the_pods_of_the_job():
    job, service = _find("Job"), _find("Service")
    name = job["metadata"]["name"]
    assert service["metadata"]["name"] == name
    assert job["spec"]["template"]["spec"]["subdomain"] == name
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    spec = job["spec"]
    variables = {e["name"]: e["value"] for e in _container()["env"]}
    assert str(spec["completions"]) == variables["WORKERS"]
    assert spec["parallelism"] == spec["completions"]


def test_each_pod_knows_all_workers_and_itself(tmp_path, monkeypatch):
    container = _container()
    program = tmp_path / "deeplab2-train"
    program.write_text('#!/bin/sh\necho "$TF_CONFIG"\necho "$@"\n')
    program.chmod(0o755)
    done = subprocess.run(
        [*container["command"], *container["args"]],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "WORKERS": "3",
            "JOB_COMPLETION_INDEX": "2",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    config, arguments = done.stdout.splitlines()
    monkeypatch.setenv("TF_CONFIG", config)
    cluster = workers.read_cluster()
    assert cluster.own == 2
    name = _find("Job")["metadata"]["name"]
    assert [worker.address for worker in cluster.workers] == [
        f"{name}-{index}.{name}:2222" for index in range(3)
    ]
    json.loads(config)
    flags = _parse_flags(f"deeplab2-train {arguments}")
    assert flags["model_dir"].value == "/runs/1"


def test_errors_that_stay_end_the_job():
    rule = _find("Job")["spec"]["podFailurePolicy"]["rules"][0]
    kinds = (
        errors.ConfigError,
        errors.DataError,
        errors.CheckpointError,
        errors.TrainingError,
        errors.InstallError,
    )
    codes = sorted({kind.exit_code for kind in kinds})
    assert rule["onExitCodes"]["values"] == codes
    assert errors.WorkerError.exit_code not in codes
