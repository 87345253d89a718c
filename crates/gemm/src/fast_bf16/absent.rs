//! Where there are no instructions for it: nothing comes here, for there is no token.

use core::convert::Infallible;

use kernform_tensor::MatrixMut;

use super::Line;

pub(super) fn pack_row(token: Infallible, _: &[f32], _: &mut [f32]) {
    match token {}
}

pub(super) fn multiply(
    token: Infallible,
    _: &[&[Line]],
    _: usize,
    _: (usize, usize),
    _: &mut MatrixMut<'_, f32>,
    _: (&[f32], usize),
) {
    match token {}
}
