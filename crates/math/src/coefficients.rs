//! The constants of the elementwise functions, shared by [`crate::vector`] and [`crate::reference`].
//!
//! The polynomials are minimax in the error that the comment names, before their coefficients are rounded to `f32`;
//! `tools/coefficients.py` derives them. All run from the constant coefficient up.

/// Below this, `e^x` rounds to zero; slightly under `ln(2^-150)`.
pub(crate) const EXP_MIN: f32 = -104.0;
/// Above this, `e^x` overflows; slightly over `ln(f32::MAX)`, and small enough that two factors reach the result.
pub(crate) const EXP_MAX: f32 = 89.0;
/// At this, [`crate::vector`]'s one-step scaling has reached the exponent field 0, which is the factor 0.
pub(crate) const ONE_STEP_EXP_MIN: f32 = -88.3;

/// `1.5 * 2^23`, at which the unit in the last place is one, plus the exponent bias.
pub(crate) const MAGIC: f32 = 12_582_912.0 + 127.0;
/// As [`MAGIC`], with twice the bias, for a scaling in two steps.
pub(crate) const MAGIC_TWICE: f32 = 12_582_912.0 + 254.0;

/// The upper nine bits of `ln 2`, so that its product with a whole number below `2^15` is exact.
pub(crate) const LN_2_HI: f32 = 0.693_359_4;
/// The rest of `ln 2`.
pub(crate) const LN_2_LO: f32 = -2.121_944_4e-4;

/// `(e^r - 1) / r` over `|r| <= ln(2) / 2`; relative error of `e^r` 2.0e-9.
pub(crate) const EXP: [f32; 6] = [1.0, 0.499_999_94, 0.166_664_3, 0.041_668_005, 0.008_374_196, 0.001_384_360_6];

/// `(2^r - 1) / r` over `|r| <= 1/2`; relative error of `2^r - 1` 1.1e-8.
pub(crate) const EXP2: [f32; 6] =
    [core::f32::consts::LN_2, 0.240_226_5, 0.055_503_573, 0.009_618_238, 0.001_339_075_9, 0.000_154_034_53];

/// `(e^2r - 1) / r` over `|r| <= ln(2) / 4`; relative error of `e^2r - 1` 1.1e-8.
pub(crate) const EXP_OF_TWICE: [f32; 6] = [2.0, 1.999_999_9, 1.333_320_5, 0.666_674_2, 0.267_811_33, 0.088_888_44];

/// Where `tanh` rounds to 1.
pub(crate) const TANH_LIMIT: f32 = 9.02;

/// `-log2(erfc(z)) / z` over `0 <= z <= 3.93`; relative error of `erf` 4.0e-9.
pub(crate) const ERF: [f32; 9] = [
    1.627_907,
    0.918_447_6,
    0.148_277_06,
    -0.027_632_03,
    -0.000_231_406_68,
    0.002_405_019_2,
    -0.000_912_995_9,
    0.000_169_722_36,
    -1.335_422_1e-5,
];
/// Where `erf` rounds to 1.
pub(crate) const ERF_LIMIT: f32 = 3.925;

/// `-log2(erfc(z / sqrt(2))) / z` over `0 <= z <= 5.6`, with the weight on small `z`; it grows beyond.
pub(crate) const GELU_ERF: [f32; 10] = [
    1.151_104_2,
    0.459_222_7,
    0.052_426_666,
    -0.006_907_61,
    -5.102_682e-5,
    0.000_315_934_07,
    -9.126_894e-5,
    1.442_722_9e-5,
    -1.288_363_1e-6,
    5.079_681_7e-8,
];
/// Where `1 - log2(erfc(z / sqrt(2)))` by [`GELU_ERF`] is 127.
pub(crate) const GELU_ERF_LIMIT: f32 = 10.414;

/// Above this, `e^x / (1 + e^x)` rounds to 1, and `e^x` is far from overflow.
pub(crate) const SIGMOID_MAX: f32 = 80.0;
/// As [`SIGMOID_MAX`], for powers of two.
pub(crate) const SIGMOID_EXP2_MAX: f32 = 64.0;
/// `sqrt(8 / pi) log2(e)`: twice the factor of the tanh approximation, for powers of two.
pub(crate) const GELU_TANH_1: f32 = 2.302_208_2;
/// `0.044715 sqrt(8 / pi) log2(e)`.
pub(crate) const GELU_TANH_3: f32 = 0.102_943_24;
/// Where `x (GELU_TANH_1 + GELU_TANH_3 x^2)` is -127.
pub(crate) const GELU_TANH_MIN: f32 = -10.031;

/// `(log(1 + f) - f + f^2 / 2) / f^3` over `sqrt(1/2) <= 1 + f <= sqrt(2)`; relative error of `log(1 + f)` 5.8e-9.
pub(crate) const LOG: [f32; 8] =
    [0.333_333_3, -0.250_008_23, 0.200_012_27, -0.166_233_57, 0.142_017_62, -0.131_601_94, 0.127_615_51, -0.076_344_32];
/// The bits of `sqrt(1/2)`, where the significand's range begins.
pub(crate) const LOG_ORIGIN: i32 = 0x3f35_04f3;
/// `1.5 * 2^23`.
pub(crate) const WHOLE: f32 = 12_582_912.0;
