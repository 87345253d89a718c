//! What is measured: one file a kernel.

mod gemm;
#[cfg(feature = "peers")]
mod gemm_peers;
mod quant;
mod rows;
#[cfg(feature = "peers")]
mod rows_peers;

use crate::Settings;
use crate::report::Table;

/// A kernel's cases.
pub(crate) struct Suite {
    /// The name for `--only`.
    pub(crate) name: &'static str,
    /// Runs the cases, printing each table as it is done.
    pub(crate) run: fn(&Settings) -> Vec<Table>,
}

/// Every suite.
pub(crate) const ALL: &[Suite] = &[
    Suite { name: "gemm", run: gemm::run },
    Suite { name: "quant", run: quant::run },
    Suite { name: "rows", run: rows::run },
];
