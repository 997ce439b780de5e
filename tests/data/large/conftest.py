# SPDX-License-Identifier: Apache-2.0
import json

import numpy as np
import pytest

from deeplab2_like.labels import descriptor as descriptor_lib


@pytest.fixture(scope="session")
def dataset():
    return descriptor_lib.make(["ground", "grass"], ["cell", "dot"])


@pytest.fixture
def write_large(tmp_path, dataset):
    """Returns the function that writes large images and a list of them.

    It returns the path of the list, the images, and the panoptic labels.
    """
    tifffile = pytest.importorskip(
        "tifffile", reason="tifffile is not installed (extra large_images)"
    )

    def write(sizes=((150, 203), (97, 64)), with_table=False):
        random = np.random.default_rng(0)
        images, labels, entries = [], [], []
        for number, (height, width) in enumerate(sizes):
            image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
            blocks = random.integers(0, 9, (height // 16 + 1, width // 16 + 1))
            ids = np.kron(blocks, np.ones((16, 16), int))[:height, :width]
            # 1 and 2 are stuff, 3.. things, 0 is void.
            classes = np.array([255, 0, 1, 2, 2, 2, 3, 3, 3])
            instances = np.array([0, 0, 0, 1, 2, 3, 1, 2, 3])
            panoptic = (classes * dataset.label_divisor + instances)[ids]
            entry = {"image": f"{number}.tif", "labels": f"{number}.labels.tif"}
            tifffile.imwrite(
                tmp_path / entry["image"],
                image,
                photometric="rgb",
                tile=(32, 32),
            )
            stored = ids * 1000003 % 2**32 if with_table else panoptic
            tifffile.imwrite(
                tmp_path / entry["labels"],
                stored.astype(np.uint32),
                compression="zlib",
                tile=(32, 32),
            )
            if with_table:
                entry["segments"] = f"{number}.json"
                table = [
                    {
                        "id": number * 1000003 % 2**32,
                        "category_id": dataset.category_ids[classes[number]],
                    }
                    for number in range(1, 9)
                ]
                (tmp_path / f"{number}.json").write_text(
                    json.dumps({"segments": table})
                )
            images.append(image)
            labels.append(panoptic)
            entries.append(entry)
        path = tmp_path / "train.large.json"
        path.write_text(json.dumps({"images": entries}))
        return str(path), images, labels

    return write
