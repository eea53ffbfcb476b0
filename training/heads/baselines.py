"""Heads without gradient descent: what the trained one starts from, and what it is compared with.

A projection (128 k) is made of features' moments; ``linear_head`` turns it into a head. k is 128 a network.
"""

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from facesvc.core.types import DIMENSION
from facesvc.models.head import LinearHead
from training.heads.moments import Matrix, Moments

Projection: TypeAlias = Callable[[Moments], Matrix]


def linear_head(projection: Matrix, mean: Matrix, centre: float) -> LinearHead:
    """projection @ (features - centre * mean): weight (128 k) and bias (128,) float32.

    centre: share of the people's mean that is taken away, 0..1. Vectors of a network crowd around their mean, so the
    more of it goes the farther apart all faces move on the unit sphere: this places the threshold.
    """
    bias = -centre * (projection @ mean)
    return LinearHead(projection.astype(np.float32), bias.astype(np.float32))


def rotated_sum(share: float) -> Projection:
    """The first network's vector plus ``share`` times each other's, rotated onto it: (128 k), as many blocks.

    The rotation is that of orthogonal Procrustes (Schönemann 1966, Psychometrika 31): the orthogonal R that brings R b
    nearest to a over all photographs, from the singular vectors of their cross-covariance. Where two networks agree on
    what sets a face apart the sum keeps it and their errors average out, as adding a mirror image's vector does.
    """

    def project(known: Moments) -> Matrix:
        first = slice(0, DIMENSION)
        blocks = [np.eye(DIMENSION)]
        for start in range(DIMENSION, len(known.mean), DIMENSION):
            other = slice(start, start + DIMENSION)
            left, _, right = np.linalg.svd(known.total[first, other])
            spread = np.sqrt(np.trace(known.total[first, first]) / np.trace(known.total[other, other]))
            blocks.append(share * spread * left @ right)
        return np.concatenate(blocks, axis=1)

    return project


def principal_components(weights: tuple[float, ...]) -> Projection:
    """The 128 directions of largest variance of the concatenation, each network's block times its weight."""

    def project(known: Moments) -> Matrix:
        scale = _block_scale(weights)
        return _leading(scale[:, None] * known.total * scale).T * scale

    return project


def whitening(shrinkage: float, weights: tuple[float, ...]) -> Projection:
    """Directions in which photographs of one person differ count less: within-class covariance normalisation (Hatch
    and Stolcke 2006), then the 128 largest components.

    shrinkage: 0 (as measured) .. 1 (nothing known), after Ledoit and Wolf's target, a multiple of the identity.
    """

    def project(known: Moments) -> Matrix:
        scale = _block_scale(weights)
        within, total = (scale[:, None] * matrix * scale for matrix in (known.within, known.total))
        values, vectors = np.linalg.eigh(_shrunk(within, shrinkage))
        whitener = vectors / np.sqrt(values) @ vectors.T
        return _leading(whitener @ total @ whitener).T @ whitener * scale

    return project


def discriminants(shrinkage: float, weights: tuple[float, ...]) -> Projection:
    """Fisher's linear discriminants: the 128 directions of the largest ratio of between to within variance."""

    def project(known: Moments) -> Matrix:
        scale = _block_scale(weights)
        within, between = (scale[:, None] * matrix * scale for matrix in (known.within, known.between))
        values, vectors = np.linalg.eigh(_shrunk(within, shrinkage))
        whitener = vectors / np.sqrt(values) @ vectors.T
        return _leading(whitener @ between @ whitener).T @ whitener * scale

    return project


def _block_scale(weights: tuple[float, ...]) -> Matrix:
    return np.repeat(np.asarray(weights, np.float64), DIMENSION)


def _shrunk(covariance: Matrix, shrinkage: float) -> Matrix:
    target = np.eye(len(covariance)) * np.trace(covariance) / len(covariance)
    return (1 - shrinkage) * covariance + shrinkage * target


def _leading(symmetric: Matrix) -> Matrix:
    """(k 128): eigenvectors of the largest eigenvalues, largest first."""
    return np.linalg.eigh(symmetric)[1][:, ::-1][:, :DIMENSION]
