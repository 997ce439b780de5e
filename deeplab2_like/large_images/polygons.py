# SPDX-License-Identifier: Apache-2.0
"""Outlines of segments as GeoJSON, for QuPath and QGIS (RFC 7946).

QuPath reads pixels, and of each feature its kind of object, name, class with
color, and measurements. QGIS reads coordinates of the system that `crs` names,
as GeoJSON had it before RFC 7946, and GDAL does.
"""

import uuid
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels import palette
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.large_images.outlines import Outline, Ring
from deeplab2_like.rasters.georeference import Georeference
from deeplab2_like.storage import json_files


class GeoJsonWriter:
    """Writes a collection of features, one after the other."""

    def __init__(
        self,
        file: IO[str],
        descriptor: DatasetDescriptor,
        image_name: str,
        georeference: Georeference | None = None,
    ):
        """Begins the collection.

        Args:
            file: The open file.
            descriptor: The data set of the model.
            image_name: Name of the image, of which the ids of features are
                made.
            georeference: Where the image lies. Coordinates are those of its
                system if that has a number in the EPSG register, else
                longitude and latitude (WGS 84). None, or without a transform:
                pixels from the upper left corner.
        """
        self._file, self._name = file, image_name
        if georeference is not None and georeference.transform is None:
            georeference = None
        self._place = georeference
        # Rows go down in images, and up in most systems.
        self._is_mirrored = False
        if georeference is not None and georeference.transform is not None:
            a, b, _, d, e, _ = georeference.transform
            self._is_mirrored = a * e - b * d < 0
        colors = palette.choose_class_colors(descriptor)
        self._classes = {
            int(category): {
                "name": descriptor.class_names[index],
                "color": colors[index].tolist(),
            }
            for index, category in enumerate(descriptor.category_ids)
        }
        file.write('{"type": "FeatureCollection"')
        if georeference is not None and georeference.epsg is not None:
            name = f"urn:ogc:def:crs:EPSG::{georeference.epsg}"
            crs = {"type": "name", "properties": {"name": name}}
            file.write(', "crs": ' + json_files.to_line(crs))
        file.write(', "features": [')
        self._separator = "\n"

    def add(self, outline: Outline, info: Mapping[str, Any], part: int) -> None:
        """Writes the feature of a segment, or of a part of it.

        Args:
            outline: Its polygons.
            info: The segment, see `segment_table.describe_segments`.
            part: Number of the part, from 0.
        """
        polygons = [
            [self._place_ring(ring) for ring in rings]
            for rings in outline.polygons
        ]
        is_one = len(polygons) == 1
        number = info["id"]
        known = self._classes[info["category_id"]]
        feature = {
            "type": "Feature",
            "id": str(
                uuid.uuid5(uuid.NAMESPACE_URL, f"{self._name}#{number}.{part}")
            ),
            "geometry": {
                "type": "Polygon" if is_one else "MultiPolygon",
                "coordinates": polygons[0] if is_one else polygons,
            },
            "properties": {
                # Objects of QuPath's lists, and regions that it shows below.
                "objectType": "detection" if info["isthing"] else "annotation",
                "name": f"{known['name']} {number}",
                "classification": known,
                "measurements": {
                    "Score": info["score"],
                    "Area px": info["area"],
                },
                "segment_id": number,
                "category_id": info["category_id"],
                "part": part,
            },
        }
        self._file.write(self._separator + json_files.plain_to_line(feature))
        self._separator = ",\n"

    def _place_ring(self, ring: Ring) -> list[list[float]]:
        """Returns the positions of a ring, the first again at the end."""
        points: npt.NDArray[Any] = np.concatenate([ring, ring[:1]])
        if self._place is not None:
            points = self._place.to_crs(points.astype(np.float64))
            if self._place.epsg is None and self._place.crs:
                points = self._place.to_longitude_latitude(points)
        if self._is_mirrored:
            points = points[::-1]
        positions: list[list[float]] = points.tolist()
        return positions

    def close(self) -> None:
        """Ends the collection."""
        self._file.write("\n]}\n")
