//! NumPy's `.npy` files of two-dimensional `f32` arrays.

/// Bytes of the header, a multiple of 64, with room for any number of rows.
pub(crate) const HEADER_LEN: usize = 128;

/// The header of an array `[rows, columns]` of little-endian floats in C order; always [`HEADER_LEN`] bytes.
pub(crate) fn header(rows: u64, columns: usize) -> Vec<u8> {
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend(u16::try_from(HEADER_LEN - 10).unwrap_or(0).to_le_bytes());
    header.extend(format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {columns}), }}").into_bytes());
    header.resize(HEADER_LEN - 1, b' ');
    header.push(b'\n');
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_have_one_length() {
        for (rows, columns) in [(0, 0), (3, 384), (u64::MAX, 1 << 40)] {
            let header = header(rows, columns);
            assert_eq!(header.len(), HEADER_LEN);
            assert_eq!(header.last(), Some(&b'\n'));
        }
    }
}
