//! The int8 product by rten-gemm, and by oneDNN through PyTorch. All on one thread, B packed beforehand.

use core::cell::RefCell;

use rten_gemm::{GemmExecutor, GemmInputA, GemmInputB, GemmOptions};
use rten_tensor::NdTensorView;

use super::gemm_int8::Operands;
use crate::alternate::Contestant;
use crate::peer::{self, Python};

/// What is started once.
pub(crate) struct Peers {
    torch: Option<RefCell<Python>>,
}

/// Below this many products a call from Python costs more than the work.
const LEAST_OF_TORCH: usize = 1 << 24;

impl Peers {
    pub(crate) fn new() -> Self {
        let torch = Python::start("gemm_int8.py").inspect_err(|error| peer::missing("oneDNN in PyTorch", error)).ok();
        Peers { torch: torch.map(RefCell::new) }
    }

    /// Every peer that there is, on operands of this case.
    pub(crate) fn of<'a>(&'a self, operands: &'a Operands) -> Vec<Contestant<'a>> {
        let mut peers = vec![rten(operands)];
        peers.extend(self.one_dnn(operands));
        peers
    }

    /// To floats, with scales of rows of B and one of A.
    fn one_dnn<'a>(&'a self, o: &Operands) -> Option<Contestant<'a>> {
        let Operands { m, n, k, .. } = *o;
        let torch = self.torch.as_ref().filter(|_| m * n * k >= LEAST_OF_TORCH)?;
        let request = format!("{m} {n} {k}");
        if let Err(error) = torch.borrow_mut().time(&request, 1) {
            peer::missing("oneDNN's int8 product in PyTorch", error);
            return None;
        }
        Some(Contestant::timing("oneDNN", move |repeats| {
            torch.borrow_mut().time(&request, repeats).unwrap_or(f64::INFINITY)
        }))
    }
}

/// Unsigned by signed bytes, to integers.
fn rten(o: &Operands) -> Contestant<'_> {
    let Operands { m, n, k, .. } = *o;
    let executor = GemmExecutor::<u8, i8, i32>::new();
    let b = NdTensorView::from_data([n, k], o.b_bytes.as_slice());
    let packed = executor.prepack_b(b.transposed());
    let a: Vec<u8> = o.a_bytes.iter().map(|a| a.cast_unsigned() ^ 0x80).collect();
    let mut c = vec![0; m * n];
    Contestant::new("rten", move || {
        let a = GemmInputA::Unpacked(NdTensorView::from_data([m, k], a.as_slice()));
        executor.gemm(&mut c, a, GemmInputB::Packed(&packed), GemmOptions::default()).expect("shapes that fit");
    })
}
