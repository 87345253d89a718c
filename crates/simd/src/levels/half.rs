//! Half-precision numbers widened without an instruction for it.

/// By which a binary16's exponent field, read as a binary32's, is too small.
pub(crate) const TWO_TO_112: f32 = f32::from_bits((112 + 127) << 23);
/// The exponent field of infinity and NaN.
pub(crate) const INFINITY: i32 = 0x7f80_0000;
/// The least magnitude of an infinity or NaN, after its shift into the place of a binary32's.
pub(crate) const LEAST_SPECIAL: i32 = 0x1f << 23;

/// The number with these bits of a binary16. The exponent is moved by a product: it is exact, and makes normal numbers of
/// denormal ones.
#[inline(always)]
pub(crate) fn widen_f16(bits: u16) -> f32 {
    let (sign, magnitude) = ((i32::from(bits) & 0x8000) << 16, (i32::from(bits) & 0x7fff) << 13);
    let finite = f32::from_bits(magnitude.cast_unsigned()) * TWO_TO_112;
    let widened = if magnitude < LEAST_SPECIAL { finite.to_bits().cast_signed() } else { magnitude | INFINITY };
    f32::from_bits((sign | widened).cast_unsigned())
}

/// The number with these bits of a bfloat16.
#[inline(always)]
pub(crate) fn widen_bf16(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}
