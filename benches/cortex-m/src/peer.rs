//! The int8 products of CMSIS-NN: bytes to bytes, with a multiplier and a shift a column or for all.

use alloc::format;
use alloc::vec;
use core::hint::black_box;

use crate::Counter;

unsafe extern "C" {
    fn arm_nn_mat_mult_nt_t_s8(
        lhs: *const i8,
        rhs: *const i8,
        bias: *const i32,
        dst: *mut i8,
        multipliers: *const i32,
        shifts: *const i32,
        lhs_rows: i32,
        rhs_rows: i32,
        rhs_cols: i32,
        lhs_offset: i32,
        dst_offset: i32,
        activation_min: i32,
        activation_max: i32,
        row_address_offset: i32,
        lhs_cols_offset: i32,
    ) -> i32;
    fn arm_nn_vec_mat_mult_t_s8(
        lhs: *const i8,
        rhs: *const i8,
        kernel_sum: *const i32,
        bias: *const i32,
        dst: *mut i8,
        lhs_offset: i32,
        dst_offset: i32,
        multiplier: i32,
        shift: i32,
        rhs_cols: i32,
        rhs_rows: i32,
        activation_min: i32,
        activation_max: i32,
        address_offset: i32,
        rhs_offset: i32,
    ) -> i32;
}

/// Counts the product `[m, k]` by `[n, k]` transposed.
pub(crate) fn product(counter: &mut Counter, (m, n, k): (usize, usize, usize), a: &[i8], b: &[i8], name: &str) {
    let bias = vec![7i32; n];
    let (multipliers, shifts) = (vec![0x4000_0000i32; n], vec![-10i32; n]);
    let mut out = vec![0i8; m * n];
    let work = m * n * k;
    counter.report(&format!("CMSIS-NN nt_t_s8 {name}, to int8"), work, "multiply-add", || {
        // SAFETY: pointers to `m k`, `n k`, `n`, `m n`, `n` and `n` elements, as the function asks for.
        unsafe {
            arm_nn_mat_mult_nt_t_s8(
                black_box(a.as_ptr()),
                b.as_ptr(),
                bias.as_ptr(),
                out.as_mut_ptr(),
                multipliers.as_ptr(),
                shifts.as_ptr(),
                m as i32,
                n as i32,
                k as i32,
                0,
                0,
                -128,
                127,
                n as i32,
                k as i32,
            );
        }
    });
    if m == 1 {
        counter.report(&format!("CMSIS-NN vec_mat_mult_t_s8 {name}, to int8"), work, "multiply-add", || {
            // SAFETY: pointers to `k`, `n k`, `n` and `n` elements, as the function asks for.
            unsafe {
                arm_nn_vec_mat_mult_t_s8(
                    black_box(a.as_ptr()),
                    b.as_ptr(),
                    core::ptr::null(),
                    bias.as_ptr(),
                    out.as_mut_ptr(),
                    0,
                    0,
                    multipliers[0],
                    shifts[0],
                    k as i32,
                    n as i32,
                    -128,
                    127,
                    1,
                    0,
                );
            }
        });
    }
}
