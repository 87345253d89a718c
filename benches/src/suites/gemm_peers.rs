//! The dense product by other crates, and by the libraries that are installed. All on one thread, row-major.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};
use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;

use super::candle;
use super::gemm::Operands;
use crate::alternate::Contestant;
use crate::peer::{load, missing};

/// Every peer that there is, on operands of this case.
pub(crate) fn all(operands: &Operands) -> Vec<Contestant<'_>> {
    let mut peers = vec![gemm_crate(operands), faer_crate(operands), matrixmultiply_crate(operands)];
    peers.extend([rten(operands, false), rten(operands, true), candle::product(operands)]);
    for library in &BLAS {
        match blas(operands, library) {
            Ok(peer) => peers.push(peer),
            Err(error) => missing(library.name, error),
        }
    }
    match one_dnn(operands) {
        Ok(peer) => peers.push(peer),
        Err(error) => missing("oneDNN", error),
    }
    peers
}

fn gemm_crate(o: &Operands) -> Contestant<'_> {
    let Operands { m, n, k, .. } = *o;
    let mut c = vec![0.0f32; m * n];
    Contestant::new("gemm", move || {
        // SAFETY: row-major operands of the lengths that the shapes say.
        unsafe {
            let (c, a, b) = (c.as_mut_ptr(), o.a.as_ptr(), o.b.as_ptr());
            let (n_stride, k_stride) = (n as isize, k as isize);
            let parallelism = ::gemm::Parallelism::None;
            ::gemm::gemm(
                m,
                n,
                k,
                c,
                1,
                n_stride,
                false,
                a,
                1,
                k_stride,
                b,
                1,
                n_stride,
                0.0,
                1.0,
                false,
                false,
                false,
                parallelism,
            );
        }
    })
}

fn faer_crate(o: &Operands) -> Contestant<'_> {
    let Operands { m, n, k, .. } = *o;
    let mut c = vec![0.0f32; m * n];
    Contestant::new("faer", move || {
        let c = MatMut::from_row_major_slice_mut(&mut c, m, n);
        let (a, b) = (MatRef::from_row_major_slice(&o.a, m, k), MatRef::from_row_major_slice(&o.b, k, n));
        matmul(c, Accum::Replace, a, b, 1.0, Par::Seq);
    })
}

fn matrixmultiply_crate(o: &Operands) -> Contestant<'_> {
    let Operands { m, n, k, .. } = *o;
    let mut c = vec![0.0f32; m * n];
    Contestant::new("matrixmultiply", move || {
        // SAFETY: row-major operands of the lengths that the shapes say.
        unsafe {
            let (n_stride, k_stride) = (n as isize, k as isize);
            let (a, b, c) = (o.a.as_ptr(), o.b.as_ptr(), c.as_mut_ptr());
            matrixmultiply::sgemm(m, k, n, 1.0, a, k_stride, 1, b, n_stride, 1, 0.0, c, n_stride, 1);
        }
    })
}

fn rten(o: &Operands, is_packed: bool) -> Contestant<'_> {
    let Operands { m, n, k, .. } = *o;
    let executor = GemmExecutor::<f32, f32, f32>::new();
    let b = NdTensorView::from_data([k, n], o.b.as_slice());
    let packed = is_packed.then(|| executor.prepack_b(b));
    let mut c = vec![0.0f32; m * n];
    Contestant::new(if is_packed { "rten packed" } else { "rten" }, move || {
        let a = GemmInputA::Unpacked(NdTensorView::from_data([m, k], o.a.as_slice()));
        let b = packed.as_ref().map_or(GemmInputB::Unpacked(b), GemmInputB::Packed);
        executor.gemm(&mut c, a, b, GemmOptions::default()).expect("shapes that fit");
    })
}

/// `cblas_sgemm` of the CBLAS interface.
type CblasSgemm = unsafe extern "C" fn(
    order: i32,
    transpose_a: i32,
    transpose_b: i32,
    m: i32,
    n: i32,
    k: i32,
    alpha: f32,
    a: *const f32,
    a_stride: i32,
    b: *const f32,
    b_stride: i32,
    beta: f32,
    c: *mut f32,
    c_stride: i32,
);

/// A library with that interface.
struct Blas {
    name: &'static str,
    files: &'static [&'static str],
    /// What sets it to one thread, or to its sequential code, with its argument.
    settings: &'static [(&'static str, i32)],
}

const BLAS: [Blas; 3] = [
    Blas { name: "OpenBLAS", files: &["libopenblas.so.0"], settings: &[("openblas_set_num_threads", 1)] },
    Blas { name: "BLIS", files: &["libblis.so.4"], settings: &[] },
    Blas {
        name: "MKL",
        files: &["libmkl_rt.so.3", "libmkl_rt.so.2"],
        settings: &[("MKL_Set_Threading_Layer", 1), ("MKL_Set_Num_Threads", 1)],
    },
];

fn blas<'a>(o: &'a Operands, blas: &Blas) -> Result<Contestant<'a>, libloading::Error> {
    const ROW_MAJOR: i32 = 101;
    const NO_TRANSPOSE: i32 = 111;
    // SAFETY: the library runs only its own initialisation; the symbols have these types in its headers. A threading layer
    // is returned, which nobody reads.
    let (library, sgemm) = unsafe {
        let library = load(blas.files)?;
        for (symbol, argument) in blas.settings {
            let set: libloading::Symbol<'_, unsafe extern "C" fn(i32)> = library.get(symbol.as_bytes())?;
            set(*argument);
        }
        let sgemm: CblasSgemm = *library.get(b"cblas_sgemm")?;
        (library, sgemm)
    };
    let (m, n, k) = (o.m as i32, o.n as i32, o.k as i32);
    let mut c = vec![0.0f32; o.m * o.n];
    Ok(Contestant::new(blas.name, move || {
        let _loaded = &library;
        let (a, b, c) = (o.a.as_ptr(), o.b.as_ptr(), c.as_mut_ptr());
        // SAFETY: row-major operands of the lengths that the shapes say; the library is still loaded.
        unsafe { sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, m, n, k, 1.0, a, k, b, n, 0.0, c, n) };
    }))
}

/// `dnnl_sgemm` of oneDNN, row-major.
type DnnlSgemm = unsafe extern "C" fn(
    transpose_a: u8,
    transpose_b: u8,
    m: i64,
    n: i64,
    k: i64,
    alpha: f32,
    a: *const f32,
    a_stride: i64,
    b: *const f32,
    b_stride: i64,
    beta: f32,
    c: *mut f32,
    c_stride: i64,
) -> i32;

fn one_dnn(o: &Operands) -> Result<Contestant<'_>, libloading::Error> {
    // SAFETY: oneDNN runs only its own initialisation; the symbol has this type in its header.
    let (library, sgemm) = unsafe {
        let library = load(&["libdnnl.so.3"])?;
        let sgemm: DnnlSgemm = *library.get(b"dnnl_sgemm")?;
        (library, sgemm)
    };
    let (m, n, k) = (o.m as i64, o.n as i64, o.k as i64);
    let mut c = vec![0.0f32; o.m * o.n];
    Ok(Contestant::new("oneDNN", move || {
        let _loaded = &library;
        let (a, b, c) = (o.a.as_ptr(), o.b.as_ptr(), c.as_mut_ptr());
        // SAFETY: row-major operands of the lengths that the shapes say; the library is still loaded.
        let status = unsafe { sgemm(b'N', b'N', m, n, k, 1.0, a, k, b, n, 0.0, c, n) };
        assert_eq!(status, 0, "oneDNN refuses the product");
    }))
}
