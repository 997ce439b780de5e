# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import logging
import pathlib
import re
import signal
import subprocess
import sys

import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.scenes import scene
from deeplab2_like.server import json_logs, main

_DOCUMENT = pathlib.Path(__file__).parents[2] / "docs" / "serving.md"
_ADDRESS = "http://localhost:8501"


def _run(*arguments):
    """Runs the program in this process."""
    main._FLAGS.unparse_flags()
    for name in main._FLAGS:
        main._FLAGS[name].unparse()
    rest = main._FLAGS(["deeplab2-serve", *map(str, arguments)])
    main._main(rest[1:])


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv("DEEPLAB2_API_KEY", raising=False)


def test_models_have_the_name_of_their_folder_or_their_own(tmp_path):
    (tmp_path / "mine" / "7").mkdir(parents=True)
    (tmp_path / "mine" / "7" / "saved_model.pb").touch()
    texts = [f"{tmp_path}/mine", f"other={tmp_path}/mine"]
    assert main.parse_models(texts) == {
        "mine": tmp_path / "mine",
        "other": tmp_path / "mine",
    }
    found = main.parse_models([f"{tmp_path}/mine/7"])
    assert found == {"mine": tmp_path / "mine" / "7"}


@pytest.mark.parametrize(
    ("texts", "words"),
    [
        ([], "--model is missing"),
        (["a b"], "name 'a b'"),
        (["=models"], "name ''"),
        (["a=x", "a=y"], "two models the name 'a'"),
    ],
)
def test_models_that_are_refused(texts, words):
    with pytest.raises(errors.ConfigError, match=words):
        main.parse_models(texts)


def test_labels_are_versions_of_models():
    labels = main.parse_labels(["a:stable=3", "a:x=4"], ["a", "b"])
    assert labels == {"a": {"stable": 3, "x": 4}, "b": {}}
    for text in ("a:stable", "c:stable=3", "a:stable=x", "a=3"):
        with pytest.raises(errors.ConfigError, match="NAME:LABEL=VERSION"):
            main.parse_labels([text], ["a", "b"])


def test_a_folder_without_a_model_is_one_sentence(tmp_path):
    with pytest.raises(errors.ExportError, match="has no model"):
        _run(f"--model={tmp_path}")
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(errors.ExportError, match="missing or damaged"):
        _run(f"--model={tmp_path}")


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.5", "example.org"])
def test_other_machines_are_not_served_unasked(tmp_path, monkeypatch, host):
    arguments = [f"--model={tmp_path}", f"--host={host}"]
    with pytest.raises(errors.ConfigError, match="--api_key_file=FILE, or"):
        _run(*arguments)
    with pytest.raises(errors.ExportError, match="has no model"):
        _run(*arguments, "--allow_unauthenticated")
    key = tmp_path / "key"
    key.write_text("a" * 32 + "\n")
    with pytest.raises(errors.ExportError, match="has no model"):
        _run(*arguments, f"--api_key_file={key}")
    monkeypatch.setenv("DEEPLAB2_API_KEY", "a" * 32)
    with pytest.raises(errors.ExportError, match="has no model"):
        _run(*arguments)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_this_machine_is_served_without_a_key(host):
    main.check_host(host, is_protected=False)


def test_keys_that_are_refused(tmp_path, monkeypatch):
    with pytest.raises(errors.ConfigError, match="cannot be read"):
        main.read_key(str(tmp_path / "none"))
    monkeypatch.setenv("DEEPLAB2_API_KEY", "short")
    with pytest.raises(errors.ConfigError, match="has 5 characters"):
        main.read_key(None)
    monkeypatch.setenv("DEEPLAB2_API_KEY", "a" * 20 + "\nb")
    with pytest.raises(errors.ConfigError, match="one line"):
        main.read_key(None)


def test_logs_are_lines_of_json():
    record = logging.LogRecord("a", logging.INFO, "", 0, "Request", (), None)
    record.fields = {"path": "/\n", "code": 200}
    line = json_logs.JsonFormatter().format(record)
    assert "\n" not in line
    read = json.loads(line)
    assert read["event"] == "Request"
    assert read["code"] == 200
    try:
        raise ValueError("secret")
    except ValueError:
        record.exc_info = sys.exc_info()
    line = json_logs.JsonFormatter().format(record)
    assert "secret" not in line
    assert "main_test.py" in line


@contextlib.contextmanager
def _start(exported):
    """Runs the program; yields its address once the model is loaded."""
    command = [sys.executable, "-m", "deeplab2_like.server.main"]
    with subprocess.Popen(
        [*command, f"--model=mine={exported}", "--port=0"],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        address, is_loaded = None, False
        for line in process.stderr:
            if line.startswith("{"):
                record = json.loads(line)
                address = record.get("address", address)
                is_loaded |= record.get("state") == "AVAILABLE"
            if address and is_loaded:
                break
        assert address
        assert is_loaded
        try:
            yield address
        finally:
            process.send_signal(signal.SIGTERM)
            rest = process.stderr.read()
    assert process.returncode == 0, rest


def _read_examples(kind):
    """Reads what docs/serving.md tells to run against the server."""
    text = _DOCUMENT.read_text(encoding="utf-8")
    text = text.partition("## Without TensorFlow Serving")[2]
    text = text.partition("\n## ")[0]
    return re.findall(rf"```{kind}\n(.*?)```", text, re.DOTALL)


@pytest.mark.slow
def test_the_program_answers_what_the_document_asks(exported, tmp_path):
    image = scene.make_scene(1, (80, 120)).image
    Image.fromarray(image).save(tmp_path / "photo.jpg")
    questions = [q for q in _read_examples("sh") if "deeplab2-serve" not in q]
    assert len(questions) == 2
    program = _read_examples("python")
    with _start(exported) as address:
        answers = [
            subprocess.run(
                ["bash", "-euc", question.replace(_ADDRESS, address)],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            ).stdout
            for question in questions
        ]
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                program[0].replace(_ADDRESS, address)
                + "\nprint(panoptic.shape)",
            ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
        )
    assert int(answers[0]) > 0
    with Image.open(tmp_path / "segments.png") as segments:
        assert segments.size == (120, 80)
    for words in (
        '"state":"AVAILABLE"',
        '"signature_def"',
        '{"ready":true}',
        '"platform":"tensorflow_savedmodel"',
        ":tensorflow:serving:request_count",
    ):
        assert words in answers[1]
    assert done.stdout.strip() == "(1, 80, 120)"
