#!/usr/bin/env python3
"""Derives the polynomials of src/coefficients.rs (needs mpmath).

Each is the minimax polynomial in a weighted error, found by Lawson's method: least squares on Chebyshev points, with
weights that are multiplied by the error until the largest errors are level (C. L. Lawson, thesis, 1961). Coefficients
are rounded to f32 at the end. Prints the name, the error before the rounding, and the coefficients from the constant up.
"""

import struct

from mpmath import cos, erfc, exp, log, lu_solve, matrix, mp, mpf, pi, sqrt

mp.dps = 50
POINTS, ROUNDS = 160, 60


def rounded(x):
    return struct.unpack("f", struct.pack("f", float(x)))[0]


def minimax(name, f, degree, low, high, weight):
    xs = [(low + high) / 2 + (high - low) / 2 * cos(pi * (2 * k + 1) / (2 * POINTS)) for k in range(POINTS)]
    targets, weights = [f(x) for x in xs], [weight(x) for x in xs]
    lawson = [mpf(1) / POINTS] * POINTS
    best = None
    for _ in range(ROUNDS):
        a, b = matrix(POINTS, degree + 1), matrix(POINTS, 1)
        for i, x in enumerate(xs):
            w = sqrt(lawson[i]) * weights[i]
            b[i] = w * targets[i]
            for j in range(degree + 1):
                a[i, j] = w * x**j
        c = lu_solve(a.T * a, a.T * b)
        errors = [abs(w * (sum(c[j] * x**j for j in range(degree + 1)) - t)) for x, t, w in zip(xs, targets, weights)]
        if best is None or max(errors) < best[0]:
            best = max(errors), list(c)
        total = sum(l * e for l, e in zip(lawson, errors))
        lawson = [l * e / total for l, e in zip(lawson, errors)]
    print(f"{name}: {float(best[0]):.2e} {[rounded(c) for c in best[1]]}")


def gelu_weight(z):
    # An error of h is as good as the rounding of h up to z = 3, then an absolute error of the GELU counts.
    h = -log(erfc(z / sqrt(mpf(2))))
    return z * log(mpf(2)) / ((1 + h) * (exp((z * z - 9) / 2) if z > 3 else 1))


def erf_weight(z):
    # An error of h in erf = 1 - 2^-h, relative to erf.
    return z * log(mpf(2)) * erfc(z) / (1 - erfc(z))


# A little beyond half a step, because the rounding to a whole number is inexact.
HALF = mpf("0.50025")
LN_2, TINY = log(mpf(2)), mpf("1e-6")

minimax("EXP", lambda r: (exp(r) - 1) / r, 5, -HALF * LN_2, HALF * LN_2, lambda r: abs(r) / exp(r))
minimax("EXP2", lambda r: (2**r - 1) / r, 5, -mpf("0.5001"), mpf("0.5001"), lambda r: r / (2**r - 1))
minimax("EXP_OF_TWICE", lambda r: (exp(2 * r) - 1) / r, 5, -HALF * LN_2 / 2, HALF * LN_2 / 2, lambda r: r / (exp(2 * r) - 1))
minimax("ERF", lambda z: -log(erfc(z)) / LN_2 / z, 8, TINY, mpf("3.93"), erf_weight)
minimax("GELU_ERF", lambda z: -log(erfc(z / sqrt(mpf(2)))) / LN_2 / z, 9, TINY, mpf("5.6"), gelu_weight)
minimax(
    "LOG",
    lambda f: (log(1 + f) - f + f * f / 2) / f**3,
    7,
    sqrt(mpf("0.5")) - 1,
    sqrt(mpf(2)) - 1,
    lambda f: abs(f**3 / log(1 + f)),
)
