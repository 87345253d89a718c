//! What is measured: one file a kernel.

mod attention;
#[cfg(feature = "peers")]
pub(crate) mod candle;
mod gemm;
mod gemm_int8;
#[cfg(feature = "peers")]
mod gemm_int8_peers;
#[cfg(feature = "peers")]
mod gemm_peers;
mod minilm;
mod quant;
mod rows;
#[cfg(feature = "peers")]
mod rows_peers;
#[cfg(feature = "peers")]
mod rows_vendors;

use crate::Settings;
use crate::report::Table;

/// The column of candle's kernels.
const CANDLE: &str = "candle";

/// A kernel's cases.
pub(crate) struct Suite {
    /// The name for `--only`.
    pub(crate) name: &'static str,
    /// Runs the cases, printing each table as it is done.
    pub(crate) run: fn(&Settings) -> Vec<Table>,
}

/// Every suite.
pub(crate) const ALL: &[Suite] = &[
    Suite { name: "attention", run: attention::run },
    Suite { name: "gemm", run: gemm::run },
    Suite { name: "gemm_int8", run: gemm_int8::run },
    Suite { name: "quant", run: quant::run },
    Suite { name: "rows", run: rows::run },
    Suite { name: "minilm", run: minilm::run },
];
