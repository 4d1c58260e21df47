"""Statistics that LeRobot normalises with: per dimension of a vector, per colour of pictures as numbers from 0 to 1."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from segue.core.observation import Picture

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}


def of_vectors(values: NDArray[Any]) -> dict[str, list[Any]]:
    """Per dimension over all frames; a number per frame counts as a vector of one.

    Args:
        values: Shape (frames, dimension) or (frames,).
    """
    table = values.reshape(len(values), -1).astype(np.float64)
    quantiles = {name: np.quantile(table, share, axis=0).tolist() for name, share in QUANTILES.items()}
    return {
        "min": table.min(0).tolist(),
        "max": table.max(0).tolist(),
        "mean": table.mean(0).tolist(),
        "std": table.std(0).tolist(),
        "count": [len(table)],
        **quantiles,
    }


def shades(picture: Picture) -> NDArray[np.int64]:
    """Count the pixels of each shade of red, green and blue. Shape (3, 256); those of many pictures are their sum."""
    return np.stack([np.bincount(picture[..., colour].ravel(), minlength=256) for colour in range(3)])


def of_pictures(counted: NDArray[np.int64], frames: int) -> dict[str, list[Any]]:
    """Per colour over all pixels of all pictures, exact, each of shape (3, 1, 1).

    Args:
        counted: As `shades` counts, summed. Shape (3, 256).
        frames: How many pictures these are.
    """
    shade, share = np.arange(256) / 255, counted / counted.sum(1, keepdims=True)
    mean = share @ shade
    spread = np.sqrt((share * (shade - mean[:, None]) ** 2).sum(1))
    reached = counted.cumsum(1) / counted.sum(1, keepdims=True)
    found = {
        "min": shade[(counted > 0).argmax(1)],
        "max": shade[255 - (counted[:, ::-1] > 0).argmax(1)],
        "mean": mean,
        "std": spread,
        **{name: shade[(reached >= each).argmax(1)] for name, each in QUANTILES.items()},
    }
    return {"count": [frames], **{name: values.reshape(3, 1, 1).tolist() for name, values in found.items()}}
