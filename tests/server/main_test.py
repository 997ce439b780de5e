# SPDX-License-Identifier: Apache-2.0
import contextlib
import json
import logging
import pathlib
import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.scenes import scene
from deeplab2_like.server import json_logs, listener, main

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


def test_a_port_for_grpc_that_is_taken_is_one_sentence(tmp_path, monkeypatch):
    pytest.importorskip("grpc_health")
    pytest.importorskip("tensorflow_serving")
    monkeypatch.setattr(main, "_check_folders", lambda _: None)
    with listener.bind("127.0.0.1", 0) as taken:
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(errors.ConfigError, match="another --grpc_port"):
            _run(f"--model={tmp_path}", "--port=0", f"--grpc_port={port}")


def test_a_package_that_grpc_needs_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "grpc_health", None)
    with pytest.raises(errors.InstallError, match=r"deeplab2-like\[serve\]"):
        _run(f"--model={tmp_path}", "--grpc_port=0")
    # Without the flag it is not looked for.
    with pytest.raises(errors.ExportError, match="has no model"):
        _run(f"--model={tmp_path}")


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
def _start(exported, *arguments):
    """Runs the program; yields its addresses once the model is loaded."""
    command = [sys.executable, "-m", "deeplab2_like.server.main"]
    command += [f"--model=mine={exported}", "--port=0", *arguments]
    with subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        addresses, is_loaded = [], False
        for line in process.stderr:
            if line.startswith("{"):
                record = json.loads(line)
                if "address" in record:
                    addresses.append(record["address"])
                is_loaded |= record.get("state") == "AVAILABLE"
            if len(addresses) > len(arguments) and is_loaded:
                break
        assert is_loaded
        try:
            yield addresses
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
    with _start(exported) as (address,):
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
        with urllib.request.urlopen(f"{address}/") as response:
            shown = response.read()
    assert b"<title>" in shown
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
        assert words in answers[1].replace(" ", "")
    assert done.stdout.strip() == "(1, 80, 120)"


@pytest.mark.slow
def test_the_program_answers_the_clients_of_the_document_by_grpc(
    exported, tmp_path
):
    pytest.importorskip("tensorflow_serving")
    pytest.importorskip("tritonclient.grpc")
    image = scene.make_scene(1, (80, 120)).image
    Image.fromarray(image).save(tmp_path / "photo.jpg")
    _, by_stubs, by_triton = _read_examples("python")
    programs = [
        by_stubs + "\nprint(num_segments)",
        by_triton + "\nprint(panoptic.shape)",
    ]
    with _start(exported, "--grpc_port=0") as (_, address):
        answers = [
            subprocess.run(
                [
                    sys.executable,
                    "-c",
                    program.replace(
                        "localhost:8500", address.removeprefix("grpc://")
                    ),
                ],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                check=True,
            ).stdout.strip()
            for program in programs
        ]
    assert int(answers[0]) > 0
    with Image.open(tmp_path / "segments.png") as segments:
        assert segments.size == (120, 80)
    assert answers[1] == "(1, 80, 120)"
