//! Element types, casts and conversions.

use kernform_tensor::{
    CastError, DType, Element, LengthMismatch, ToF32, as_bytes, bf16, cast_slice, cast_slice_mut, convert_to_f32, f16,
};

#[test]
fn names_and_sizes() {
    for dtype in DType::ALL {
        assert_eq!(DType::from_name(dtype.name()), Some(dtype));
        assert_eq!(dtype.to_string(), dtype.name());
    }
    assert_eq!(DType::from_name("f32"), None);
    assert_eq!(format!("{:>5}|", DType::F32), "  F32|");
    fn agrees<T: Element>() {
        assert_eq!(T::DTYPE.size(), size_of::<T>());
    }
    agrees::<u8>();
    agrees::<i8>();
    agrees::<u16>();
    agrees::<i16>();
    agrees::<f16>();
    agrees::<bf16>();
    agrees::<u32>();
    agrees::<i32>();
    agrees::<f32>();
    agrees::<u64>();
    agrees::<i64>();
    agrees::<f64>();
}

#[test]
fn casts_check_address_and_length() {
    let mut words = [0x3f80_0000_u32, 0xbf80_0000];
    assert_eq!(cast_slice::<u32, f32>(&words), Ok(&[1.0, -1.0][..]));
    let bytes = as_bytes(&words);
    assert_eq!(bytes.len(), 8);
    assert_eq!(cast_slice::<u8, u32>(&bytes[1..5]), Err(CastError::Misaligned { needed: 4, off_by: 1 }));
    assert_eq!(cast_slice::<u8, u32>(&bytes[..7]), Err(CastError::Length { bytes: 7, element: 4 }));
    assert_eq!(cast_slice::<u8, u32>(&[]), Ok(&[][..]));
    cast_slice_mut::<u32, f32>(&mut words).unwrap()[0] = 2.0;
    assert_eq!(words[0], 2.0_f32.to_bits());
    assert!(cast_slice_mut::<u32, u64>(&mut words[..1]).is_err());
}

#[test]
fn exact_conversions_lose_nothing() {
    fn both<T: ToF32 + Element + Into<f64>>(values: impl Iterator<Item = T>) {
        assert!(T::EXACT);
        let values: Vec<T> = values.collect();
        let mut out = vec![0.0; values.len()];
        convert_to_f32(&values, &mut out).unwrap();
        for (&value, out) in values.iter().zip(out) {
            let value: f64 = value.into();
            assert!(value.is_nan() && out.is_nan() || value.to_bits() == f64::from(out).to_bits(), "{value} {out}");
        }
    }
    both((0..=u16::MAX).map(f16::from_bits));
    both((0..=u16::MAX).map(bf16::from_bits));
    both(0..=u16::MAX);
    both(i16::MIN..=i16::MAX);
    both(0..=u8::MAX);
    both(i8::MIN..=i8::MAX);
}

#[test]
fn other_conversions_round_to_nearest_even() {
    assert_eq!((16_777_217_i32.to_f32(), 16_777_219_i32.to_f32()), (16_777_216.0, 16_777_220.0));
    assert_eq!((i64::MIN.to_f32(), u64::MAX.to_f32()), (-(2_f32.powi(63)), 2_f32.powi(64)));
    let half_ulp = f64::from(f32::EPSILON) / 2.0;
    assert_eq!(((1.0 + half_ulp).to_f32(), (1.0 + 3.0 * half_ulp).to_f32()), (1.0, 1.0 + 2.0 * f32::EPSILON));
    assert_eq!((1e300_f64.to_f32(), (-0.0_f64).to_f32().to_bits()), (f32::INFINITY, (-0.0_f32).to_bits()));
    assert_eq!(2_f64.powi(-149).to_f32().to_bits(), 1);
    assert!(f64::NAN.to_f32().is_nan());
    assert!(![i32::EXACT, u32::EXACT, i64::EXACT, u64::EXACT, f64::EXACT].contains(&true));
    let mut out = [7.0; 2];
    assert_eq!(convert_to_f32(&[1_u8], &mut out), Err(LengthMismatch { source: 1, destination: 2 }));
    assert_eq!(out, [7.0; 2]);
}
