"""erf and erfc; branch-free."""

from __future__ import annotations

from .exponentials import exp_of, format_of, power_of_two, reduce, scale
from .scalar import Scalar, fma, horner, select

__all__ = ["erf", "erfc"]

# erf a / a - 1 in a², a ≤ 1, and log erfc a for larger a, to 2^-54 of erf in float64.
_ERF_NEAR_SINGLE = (
    0.12837916612625122,
    -0.3761262595653534,
    0.11283592879772186,
    -0.02685406804084778,
    0.005188727751374245,
    -0.0008013196638785303,
    7.862519123591483e-05,
)
_ERF_FAR_SINGLE = (
    0.00020152705837972462,
    -1.1296466588974,
    -0.6330716013908386,
    -0.10859944671392441,
    0.02534358575940132,
    -0.004268133547157049,
    0.0004596388025674969,
    -2.463848613842856e-05,
    2.0409541434673883e-07,
)
_ERF_NEAR = (
    0.12837916709551256,
    -0.37612638903183343,
    0.11283791670936823,
    -0.026866170641926354,
    0.0052239775963566016,
    -0.0008548325461227163,
    0.00012055279611764127,
    -1.4924445212656793e-05,
    1.6443855531476561e-06,
    -1.618139990306179e-07,
    1.360405597690794e-08,
    -7.581551006842371e-10,
)
_ERF_FAR = (
    -1.057530108209504e-06,
    -1.1283687659932462,
    -0.63666735802732,
    -0.10263820568576427,
    0.01886634531103876,
    0.0005828556997544865,
    -0.0020976330870582276,
    0.0009191163603738924,
    -0.0002301843761429832,
    2.7795974060978754e-05,
    3.6794083253889456e-06,
    -2.690844498644899e-06,
    6.912659371585989e-07,
    -1.0872445934460139e-07,
    1.095287345832222e-08,
    -6.548020394174767e-10,
    1.7787455933679275e-11,
)
# (1 + 2a) e^(a²) erfc a in t = (a - 4) / (a + 4): to 2^-36 up to a = 10.2, and to
# 2^-54 up to 27.3.
_ERFC_SINGLE = (
    1.2329951186111554,
    -0.13962111712553193,
    0.015379655304622607,
    0.06809707754584585,
    -0.10103916665977536,
    0.09373224287805468,
    -0.06632952833927444,
    0.037173945055530136,
    -0.01619664368930487,
    0.005002516618939227,
    -0.0007934100373156028,
    -0.00016594106700064553,
    0.00024872576637206974,
    4.60270346525418e-05,
)
_ERFC = (
    1.2329951186255526,
    -0.13962111684056253,
    0.01537965210261966,
    0.06809705425469545,
    -0.10103906603629997,
    0.09373283499825055,
    -0.06633036581230965,
    0.037167515539099666,
    -0.016197734056762867,
    0.005031969963485224,
    -0.0007577732959313892,
    -0.0001992566161280984,
    0.00015062171281241468,
    -2.4399480817911363e-05,
    -1.12221685275201e-05,
    5.710293984711001e-06,
    2.9417475873021106e-07,
    -8.26110447435284e-07,
    7.403071905322467e-08,
    1.1044139238072201e-07,
    -1.7371012403875812e-08,
    -1.4090812896739853e-08,
    1.6315628400953073e-09,
    1.1850423125343625e-09,
)


# -- the error function --------------------------------------------------------------


def erf(x: Scalar) -> Scalar:
    """a (1 + P(a²)) for a = |x| < 1, else 1 - e^(Q(a)), Q = log erfc; odd.

    The form is N. Juffa's erff; fits of our own.
    """
    single = x.single
    a = abs(x)
    near = fma(a, horner(a * a, _ERF_NEAR_SINGLE if single else _ERF_NEAR), a)
    # From there on erfc is below half of the last place; NaN stays.
    end = 3.95 if single else 5.95
    held = select(a > end, end, a)
    far = horner(held, _ERF_FAR_SINGLE if single else _ERF_FAR)
    moved, r = reduce(far, format_of(x).bias)
    far = fma(-power_of_two(moved), exp_of(r), 1.0)
    return select(a < 1.0, near, far).with_sign(x.sign_bit())


def erfc(x: Scalar) -> Scalar:
    """e^(-a²) G(t) / (1 + 2a), t = (a - 4) / (a + 4), a = |x|; 2 less that for x < 0.

    M. M. Shepherd and J. G. Laframboise, Chebyshev approximation of (1 + 2x) exp(x²)
    erfc x, Math. Comp. 36 (1981); fits of our own.  float32 is computed in float64,
    where a² is exact; in float64 a² is taken in two parts.
    """
    a = abs(x.widen() if x.single else x)
    end = 10.2 if x.single else 27.3
    a = select(a > end, end, a)
    t = (a - 4.0) / (a + 4.0)
    if x.single:
        moved, r = reduce(-(a * a), 2 * 1023)
        g = horner(t, _ERFC_SINGLE)
    else:
        head = (a.bits() & -0x8000000).as_float()
        moved, r = reduce(-(head * head), 2 * 1023, -((a - head) * (a + head)))
        g = horner(t, _ERFC)
    y = scale(exp_of(r) * (g / fma(a, 2.0, 1.0)), moved)
    y = select(x < 0.0, -y + 2.0, y)
    return y.narrow() if x.single else y
