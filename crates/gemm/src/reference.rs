//! The defined order of operations, in plain scalar code.

use kernform_simd::Arithmetic;
use kernform_tensor::{MatrixMut, MatrixRef};
use num_traits::Float;

use crate::GemmError;
use crate::multiply::check_shapes;

/// `c[i,j] = activate(chain) + residual[i,j]`, where the chain is `acc = mul_add(a[i,k], b[k,j], acc)` over ascending `k`,
/// begun from `bias[j]`, or 0 without a bias.
///
/// This is the meaning of [`gemm`](crate::gemm): in `f32`, with the class of its level, it gives the same bits. In `f64`
/// it is the truth of the bound tests.
///
/// # Errors
/// [`GemmError`] where the shapes do not fit.
pub fn gemm<T: Float, A: Arithmetic>(
    a: MatrixRef<'_, T>,
    b: MatrixRef<'_, T>,
    mut c: MatrixMut<'_, T>,
    bias: Option<&[T]>,
    activate: impl Fn(T) -> T,
    residual: Option<MatrixRef<'_, T>>,
) -> Result<(), GemmError> {
    let found = (c.rows(), c.cols());
    let residual_shape = residual.map(|residual| (residual.rows(), residual.cols()));
    check_shapes((a.rows(), a.cols()), (b.rows(), b.cols()), found, bias.map(<[T]>::len), residual_shape)?;
    for i in 0..c.rows() {
        for j in 0..c.cols() {
            let mut acc = bias.and_then(|bias| bias.get(j)).copied().unwrap_or_else(T::zero);
            for k in 0..a.cols() {
                if let (Some(a), Some(b)) = (a.get(i, k), b.get(k, j)) {
                    acc = A::mul_add(*a, *b, acc);
                }
            }
            let activated = activate(acc);
            let result = match residual.and_then(|residual| residual.get(i, j).copied()) {
                Some(residual) => activated + residual,
                None => activated,
            };
            if let Some(c) = c.get_mut(i, j) {
                *c = result;
            }
        }
    }
    Ok(())
}
