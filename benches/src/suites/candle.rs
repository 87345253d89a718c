//! The kernels of candle, through its tensors, as its models call them: each call makes its own result.

use core::cell::{Cell, RefCell};
use core::hint::black_box;
use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QMatMul, QStorage, QTensor};
use candle_core::{Device, Module, Result, Tensor};
use candle_nn::ops;
use kernform_quant::Format;

use super::rows::{self, Data, EPSILON};
use super::{CANDLE, gemm};
use crate::alternate::Contestant;

/// Keeps candle and its thread pool on one thread.
pub(crate) fn on_one_thread() {
    // SAFETY: called at the very beginning, before there is another thread.
    unsafe { std::env::set_var("RAYON_NUM_THREADS", "1") };
}

fn contestant<'a>(run: impl Fn() -> Result<Tensor> + 'a) -> Contestant<'a> {
    Contestant::new(CANDLE, move || {
        black_box(run().expect("operands that fit"));
    })
}

fn tensor<const N: usize>(data: &[f32], shape: [usize; N]) -> Tensor {
    let tensor = Tensor::from_slice(data, shape.as_slice(), &Device::Cpu);
    tensor.expect("as many elements as the shape says")
}

/// The dense product.
pub(crate) fn product(operands: &gemm::Operands) -> Contestant<'_> {
    let gemm::Operands { m, n, k, .. } = *operands;
    let (a, b) = (tensor(&operands.a, [m, k]), tensor(&operands.b, [k, n]));
    contestant(move || a.matmul(&b))
}

/// A function of rows, where candle has it.
pub(crate) fn of_rows(function: &str, data: &RefCell<Data>) -> Option<Contestant<'static>> {
    type Function = fn(&Tensor, &[Tensor; 3]) -> Result<Tensor>;
    let function: Function = match function {
        "exp" => |x, _| x.exp(),
        "log" => |x, _| x.log(),
        "tanh" => |x, _| x.tanh(),
        "erf" => |x, _| x.erf(),
        "sigmoid" => |x, _| ops::sigmoid(x),
        "gelu_erf" => |x, _| x.gelu_erf(),
        "gelu_tanh" => |x, _| x.gelu(),
        "silu" => |x, _| x.silu(),
        "relu" => |x, _| x.relu(),
        "add" => |x, [residual, ..]| x + residual,
        "softmax" => |x, _| ops::softmax_last_dim(x),
        "log_softmax" => |x, _| ops::log_softmax(x, 1),
        "layer_norm" => |x, [_, gamma, beta]| ops::layer_norm(x, gamma, beta, EPSILON),
        "rms_norm" => |x, [_, gamma, _]| ops::rms_norm(x, gamma, EPSILON),
        _ => return None,
    };
    let mut data = data.borrow_mut();
    let shape = [data.rows, data.width];
    let rows::Operands { x, residual, gamma, beta, .. } = data.operands();
    let x = tensor(x, shape);
    let others = [tensor(residual, shape), tensor(gamma, [shape[1]]), tensor(beta, [shape[1]])];
    Some(contestant(move || function(&x, &others)))
}

/// Attention over rows of `[batch, heads, tokens, head_dim]`, as candle's models put it together on a CPU.
pub(crate) fn attention(
    [query, key, value]: [&[f32]; 3],
    (batch, heads, tokens, head_dim, causal): (usize, usize, usize, usize, bool),
) -> Contestant<'static> {
    let [query, key, value] = [query, key, value].map(|data| tensor(data, [batch, heads, tokens, head_dim]));
    let scale = 1.0 / (head_dim as f64).sqrt();
    let hidden = |at: usize| if at % tokens > at / tokens { f32::NEG_INFINITY } else { 0.0 };
    let mask = causal.then(|| tensor(&(0..tokens * tokens).map(hidden).collect::<Vec<_>>(), [tokens, tokens]));
    contestant(move || {
        let mut scores = (query.matmul(&key.t()?)? * scale)?;
        if let Some(mask) = &mask {
            scores = scores.broadcast_add(mask)?;
        }
        ops::softmax_last_dim(&scores)?.matmul(&value)
    })
}

/// A product of `x`, `[rows, k]`, with `copies` copies of weights in blocks, `[n, k]`, that are taken in turn; `None` for formats
/// that candle has not.
pub(crate) fn blocks(
    format: Format,
    x: &[f32],
    (rows, n, k): (usize, usize, usize),
    blocks: &[u8],
    copies: usize,
) -> Option<Contestant<'static>> {
    let dtype = match format {
        Format::Q4_0 => GgmlDType::Q4_0,
        Format::Q4_1 => GgmlDType::Q4_1,
        Format::Q5_0 => GgmlDType::Q5_0,
        Format::Q5_1 => GgmlDType::Q5_1,
        Format::Q8_0 => GgmlDType::Q8_0,
        Format::Q2K => GgmlDType::Q2K,
        Format::Q3K => GgmlDType::Q3K,
        Format::Q4K => GgmlDType::Q4K,
        Format::Q5K => GgmlDType::Q5K,
        Format::Q6K => GgmlDType::Q6K,
        _ => return None,
    };
    let weights = || {
        let storage = QStorage::from_data(Cow::Borrowed(blocks), &Device::Cpu, dtype)?;
        QMatMul::from_qtensor(QTensor::new(storage, (n, k))?)
    };
    let weights: Vec<QMatMul> = (0..copies).map(|_| weights().expect("blocks of this shape")).collect();
    let (x, next) = (tensor(x, [rows, k]), Cell::new(0));
    // Some formats are repacked when they are used first.
    for weights in &weights {
        let _ = weights.forward(&x).expect("operands that fit");
    }
    Some(contestant(move || {
        next.set((next.get() + 1) % copies);
        weights[next.get()].forward(&x)
    }))
}
