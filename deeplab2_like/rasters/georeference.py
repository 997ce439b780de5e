# SPDX-License-Identifier: Apache-2.0
"""Where on earth the pixels of an image lie, as GDAL has it; by rasterio."""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.storage import optional_packages, tiff_files

# Extra of this package that installs rasterio.
EXTRA = "geo"
_WHAT = "Images with a georeference"
_POINT = "AREA_OR_POINT"
# Tags of GeoTIFF: scale, tie points, transformation, keys and their values.
_TAGS = (33550, 33922, 34264, 34735, 34736, 34737)


def load_rasterio() -> Any:
    """Imports rasterio; raises `InstallError`."""
    return optional_packages.load("rasterio", _WHAT, EXTRA)


@dataclasses.dataclass(frozen=True)
class Georeference:
    """Where an image lies.

    Attributes:
        transform: (a, b, c, d, e, f): the point at x, y in pixels from the
            upper left corner lies at (a x + b y + c, d x + e y + f). None
            where only `points` say where the image lies.
        crs: The coordinate reference system, as WKT; "" where it is unknown.
        epsg: Its number in the EPSG register; None where it has none.
        points: Ground control points: (row, column, x, y, z) of each.
        is_point: Whether the coordinates are those of the pixels' centers
            (GeoTIFF's PixelIsPoint); `transform` is that of the corners.
    """

    transform: tuple[float, float, float, float, float, float] | None
    crs: str = ""
    epsg: int | None = None
    points: tuple[tuple[float, float, float, float, float], ...] = ()
    is_point: bool = False

    def to_crs(
        self, points_n2: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Returns where points lie in the coordinate reference system.

        Args:
            points_n2: [N, 2], (x, y) in pixels from the upper left corner.
        """
        if self.transform is None:
            return points_n2
        a, b, c, d, e, f = self.transform
        x, y = points_n2[:, 0], points_n2[:, 1]
        return np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)

    def to_longitude_latitude(
        self, points_n2: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.float64]:
        """Returns where points of the system lie in WGS 84, in degrees."""
        warp = optional_packages.load("rasterio.warp", _WHAT, EXTRA)
        x, y = warp.transform(
            self._read_crs(),
            load_rasterio().crs.CRS.from_epsg(4326),
            points_n2[:, 0].tolist(),
            points_n2[:, 1].tolist(),
        )
        return np.stack([np.asarray(x), np.asarray(y)], axis=-1)

    def _read_crs(self) -> Any:
        crs = load_rasterio().crs.CRS
        return crs.from_wkt(self.crs) if self.crs else None

    def to_tiff_tags(self) -> list[tuple[int, int, int, Any, bool]]:
        """Returns the tags of GeoTIFF, as tifffile takes further tags.

        GDAL writes them to a file of one pixel in memory.
        """
        rasterio = load_rasterio()
        tifffile = tiff_files.load_tifffile(_WHAT, EXTRA)
        control = optional_packages.load("rasterio.control", _WHAT, EXTRA)
        options: dict[str, Any] = {"crs": self._read_crs()}
        if self.transform is not None:
            options["transform"] = rasterio.Affine(*self.transform)
        elif self.points:
            options["gcps"] = [
                control.GroundControlPoint(*point) for point in self.points
            ]
        with rasterio.MemoryFile() as memory:
            with memory.open(
                driver="GTiff",
                width=1,
                height=1,
                count=1,
                dtype="uint8",
                **options,
            ) as target:
                if self.is_point:
                    target.update_tags(**{_POINT: "Point"})
            memory.seek(0)
            with tifffile.TiffFile(memory) as file:
                tags = file.pages[0].tags
                return [
                    (code, int(tag.dtype), tag.count, tag.value, True)
                    for code in _TAGS
                    if (tag := tags.get(code)) is not None
                ]


def read(dataset: Any) -> Georeference | None:
    """Returns where an open file of rasterio lies; None: it does not say."""
    points, points_crs = dataset.gcps
    crs = dataset.crs or points_crs
    has_transform = not dataset.transform.is_identity
    if not has_transform and not points:
        return None
    return Georeference(
        tuple(dataset.transform)[:6] if has_transform else None,
        crs.to_wkt() if crs else "",
        crs.to_epsg() if crs else None,
        ()
        if has_transform
        else tuple((p.row, p.col, p.x, p.y, p.z or 0.0) for p in points),
        dataset.tags().get(_POINT) == "Point",
    )
