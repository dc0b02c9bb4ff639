"""The beta distribution, of which intervals of shares are made; exact to about 1e-12."""

from math import exp, lgamma, log, log1p

_STEPS = 10_000
_EPSILON = 1e-15
_TINY = 1e-300


def beta_cdf(x: float, a: float, b: float) -> float:
    """Regularised incomplete beta function I_x(a, b), for a, b > 0.

    Source: DLMF 8.17.22, the continued fraction, by Lentz's algorithm (DLMF 3.10(iii)).
    """
    if x <= 0 or x >= 1:
        return float(x >= 1)
    if x > (a + 1) / (a + b + 2):  # there it converges fast
        return 1 - beta_cdf(1 - x, b, a)
    return exp(_log_density(x, a, b)) * x * (1 - x) / a * _fraction(x, a, b)


def beta_quantile(share: float, a: float, b: float) -> float:
    """The x at which I_x(a, b) is ``share``, between 0 and 1."""
    low, high = 0.0, 1.0
    x = a / (a + b)
    for _ in range(200):
        excess = beta_cdf(x, a, b) - share
        low, high = (low, x) if excess > 0 else (x, high)
        if abs(excess) < 1e-14 or high - low <= 1e-14 * high:
            break
        x = _newton(x, excess, a, b)
        if not low < x < high:
            x = (low + high) / 2
    return x


def _newton(x: float, excess: float, a: float, b: float) -> float:
    """Where the tangent meets the axis; outside of [0, 1] where there is none."""
    log_density = _log_density(x, a, b)
    return x - excess * exp(-log_density) if abs(log_density) < 600 else -1.0


def _log_density(x: float, a: float, b: float) -> float:
    scale = lgamma(a + b) - lgamma(a) - lgamma(b)
    return scale + (a - 1) * log(x) + (b - 1) * log1p(-x)


def _fraction(x: float, a: float, b: float) -> float:
    """1 / (1 + d1 / (1 + d2 / (1 + ...)))."""
    c, d = 1.0, 1 / (1 - (a + b) * x / (a + 1))
    value = d
    for m in range(1, _STEPS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        for term in (even, odd):
            d = 1 / _not_zero(1 + term * d)
            c = _not_zero(1 + term / c)
            value *= c * d
        if abs(c * d - 1) < _EPSILON:
            return value
    raise ArithmeticError(f"the incomplete beta function of {x}, {a}, {b} does not converge")


def _not_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
