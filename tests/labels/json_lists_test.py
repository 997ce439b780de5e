# SPDX-License-Identifier: Apache-2.0
"""Lists of a JSON file, entry by entry: as `json.loads` reads them."""

import json
import random
import tracemalloc

import pytest

from deeplab2_like.labels import json_lists

_TEXTS = (
    "",
    "a",
    'quote " and \\ and /',
    "[}{],:",
    "é\U0001f600",
    "\u2028\n\t",
)


def collect(path, required=(), optional=()):
    return {
        key: list(entries)
        for key, entries in json_lists.stream(path, required, optional)
    }


def make_value(rng, depth=3):
    kind = rng.randrange(8 if depth else 6)
    if kind == 6:
        return [make_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    if kind == 7:
        return {
            f"{rng.choice(_TEXTS)}{i}": make_value(rng, depth - 1)
            for i in range(rng.randrange(4))
        }
    return (
        None,
        rng.random() < 0.5,
        rng.randrange(-(10**12), 10**12),
        rng.uniform(-1e5, 1e5),
        rng.choice(_TEXTS),
        10.0 ** rng.randrange(-20, 20),
    )[kind]


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 64, 2**18])
def test_random_files_are_read_as_by_json(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_lists, "_CHUNK", chunk)
    path = tmp_path / "a.json"
    for seed in range(40):
        rng = random.Random(seed)
        content = {f"key {i}": make_value(rng) for i in range(rng.randrange(6))}
        path.write_text(
            json.dumps(
                content,
                indent=rng.choice([None, 0, 3]),
                ensure_ascii=rng.random() < 0.5,
            ),
            encoding=rng.choice(["utf-8", "utf-8-sig", "utf-16", "utf-32-be"]),
        )
        expected = {k: v for k, v in content.items() if isinstance(v, list)}
        assert collect(path) == expected


def test_entries_that_were_not_read_are_skipped(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, {"b": [2]}, 3], "c": [4]}')
    found = []
    for key, entries in json_lists.stream(path):
        found.append((key, next(entries)))
    assert found == [("a", 1), ("c", 4)]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "3",
        '{"a": [1, 2',
        '{"a": [1, 2]',
        '{"a": [1, 2]} 3',
        '{"a": [1 2]}',
        '{"a": [1, 2,]}',
        '{"a": [1],}',
        '{"a": [1] "b": 2}',
        '{"a" [1]}',
        '{"a": [1], "a": [1]}',
        '{"a": [{"b": 1, "b": 2}]}',
        '{"a": [tru]}',
        "{a: [1]}",
        "{1: [1]}",
        '{"a": [' + "[" * 100_000 + "]" * 100_000 + "]}",
    ],
)
def test_what_is_not_valid_is_irregular(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(json_lists.IrregularError):
        collect(path)


def test_bytes_that_are_no_text_are_irregular(tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(b'{"a": ["\xff\xfe\xfa"]}')
    with pytest.raises(json_lists.IrregularError):
        collect(path)
    with pytest.raises(json_lists.IrregularError):
        collect(tmp_path / "missing.json")


def test_lists_that_must_be_there(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1], "b": {"c": []}, "n": null}')
    assert collect(path, ["a"], ["n", "other"]) == {"a": [1]}
    for required, optional in ((["a", "b"], []), (["d"], []), ([], ["b"])):
        with pytest.raises(json_lists.IrregularError):
            collect(path, required, optional)


def test_a_reader_starts_again_from_the_whole_file(tmp_path):
    path = tmp_path / "a.json"
    path.write_text('{"a": [1, 2, 3')
    calls = []

    def make(lists):
        calls.append([])
        for _, entries in lists:
            calls[-1].extend(entries)
        return calls[-1]

    found = json_lists.read(make, path, ["a"], [], lambda: {"a": [7, 8]})
    assert found == [7, 8]
    assert calls == [[1, 2, 3], [7, 8]]


def test_memory_does_not_depend_on_the_number_of_entries(tmp_path):
    path = tmp_path / "a.json"
    entry = {"id": 1, "segments_info": [{"id": i} for i in range(20)]}
    peaks = []
    for count in (2000, 20000):
        path.write_text(json.dumps({"annotations": [entry] * count}))
        tracemalloc.start()
        for _, entries in json_lists.stream(path):
            assert sum(1 for _ in entries) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
