//! Functions of rows by Intel's libraries, loaded where they are installed: MKL's vector functions and oneDNN.
//!
//! The constants and signatures are those of `mkl_vml.h` (32-bit integers) and of oneDNN 3's `dnnl.h`.

use core::cell::RefCell;
use core::ffi::{c_int, c_void};
use core::ptr::null_mut;

use libloading::{Library, Symbol};

use super::rows::{Data, EPSILON, Operands};
use crate::alternate::Contestant;
use crate::peer;

/// MKL's vector functions.
pub(crate) struct Mkl(Library);

type VectorFunction = unsafe extern "C" fn(n: c_int, a: *const f32, y: *mut f32, mode: i64);

/// Denormals kept, errors not reported.
const MKL_MODE: i64 = 0x0014_0000 | 0x100;
/// The accuracies: below 1 ULP, and below 4 ULP.
const MKL_ACCURACIES: [(&str, i64); 2] = [("MKL HA", 2), ("MKL LA", 1)];

impl Mkl {
    pub(crate) fn load() -> Result<Self, String> {
        // SAFETY: MKL runs only its own initialisation; both functions have these types in its headers.
        unsafe {
            let library = peer::load(&["libmkl_rt.so.3", "libmkl_rt.so.2"]).map_err(|error| error.to_string())?;
            let layer: Symbol<'_, unsafe extern "C" fn(c_int) -> c_int> =
                library.get(b"MKL_Set_Threading_Layer").map_err(|error| error.to_string())?;
            const SEQUENTIAL: c_int = 1;
            layer(SEQUENTIAL);
            Ok(Mkl(library))
        }
    }

    /// The function in each accuracy, where MKL has it.
    pub(crate) fn of<'a>(&self, function: &str, data: &'a RefCell<Data>) -> Vec<Contestant<'a>> {
        let symbol: &[u8] = match function {
            "exp" => b"vmsExp",
            "log" => b"vmsLn",
            "tanh" => b"vmsTanh",
            "erf" => b"vmsErf",
            _ => return Vec::new(),
        };
        // SAFETY: the function has this type in MKL's header.
        let Ok(function) = (unsafe { self.0.get::<VectorFunction>(symbol) }).map(|symbol| *symbol) else {
            return Vec::new();
        };
        let contestant = |(name, accuracy): (&str, i64)| {
            Contestant::new(name, move || {
                let mut data = data.borrow_mut();
                let Operands { x, out, .. } = data.operands();
                // SAFETY: both operands have the length that is passed; the library lives as long as the process.
                unsafe { function(x.len() as c_int, x.as_ptr(), out.as_mut_ptr(), accuracy | MKL_MODE) };
            })
        };
        MKL_ACCURACIES.into_iter().map(contestant).collect()
    }
}

/// An object of oneDNN.
type Object = *mut c_void;

#[repr(C)]
struct Argument {
    kind: c_int,
    memory: Object,
}

const SOURCE: c_int = 1;
const DESTINATION: c_int = 17;
const SCALE: c_int = 51;
const SHIFT: c_int = 52;
const FORWARD_INFERENCE: c_int = 96;

/// oneDNN's primitives on the CPU.
pub(crate) struct OneDnn {
    library: Library,
    engine: Object,
    stream: Object,
}

/// Calls a function of oneDNN: its name, the types of its arguments, the arguments. Zero is success.
macro_rules! call {
    ($self:expr, $name:literal, $($type:ty: $argument:expr),*) => {{
        let function: Symbol<'_, unsafe extern "C" fn($($type),*) -> c_int> =
            $self.get($name).map_err(|error| error.to_string())?;
        match function($($argument),*) {
            0 => Ok(()),
            status => Err(format!("status {status}")),
        }
    }};
}

impl OneDnn {
    pub(crate) fn load() -> Result<Self, String> {
        // SAFETY: oneDNN runs only its own initialisation; the functions have these types in its header.
        unsafe {
            let library = peer::load(&["libdnnl.so.3"]).map_err(|error| error.to_string())?;
            let (mut engine, mut stream) = (null_mut(), null_mut());
            const CPU: c_int = 1;
            const IN_ORDER: u32 = 1;
            call!(library, b"dnnl_engine_create", *mut Object: &raw mut engine, c_int: CPU, usize: 0)?;
            call!(library, b"dnnl_stream_create", *mut Object: &raw mut stream, Object: engine, u32: IN_ORDER)?;
            Ok(OneDnn { library, engine, stream })
        }
    }

    /// A description of dense `f32` and memory of that kind at `data`.
    ///
    /// # Safety
    /// `data` must hold the product of `dims` elements, and outlive the memory.
    unsafe fn memory(&self, dims: &[usize], data: *mut f32) -> Result<(Object, Object), String> {
        let mut padded = [0i64; 12];
        for (padded, dim) in padded.iter_mut().zip(dims) {
            *padded = *dim as i64;
        }
        let (mut description, mut memory) = (null_mut(), null_mut());
        const F32: c_int = 3;
        // The tags of dense tensors follow one another: 2 is `a`, 3 is `ab`.
        let (count, tag) = (dims.len() as c_int, dims.len() as c_int + 1);
        // SAFETY: the functions have these types in oneDNN's header; the data by the caller's word.
        unsafe {
            call!(self.library, b"dnnl_memory_desc_create_with_tag", *mut Object: &raw mut description, c_int: count, *const i64: padded.as_ptr(), c_int: F32, c_int: tag)?;
            call!(self.library, b"dnnl_memory_create", *mut Object: &raw mut memory, Object: description, Object: self.engine, *mut c_void: data.cast())?;
        }
        Ok((description, memory))
    }

    /// The function as a primitive, with its arguments.
    fn primitive(&self, function: &str, data: &mut Data) -> Result<(Object, Vec<Argument>), String> {
        let (mut description, mut primitive) = (null_mut(), null_mut());
        // SAFETY: the functions have these types in oneDNN's header; all memory belongs to `data`, which outlives it.
        unsafe {
            let dims = [data.rows, data.width];
            let Operands { x, out, gamma, beta, .. } = data.operands();
            let (layout, source) = self.memory(&dims, x.as_mut_ptr())?;
            let (_, destination) = self.memory(&dims, out.as_mut_ptr())?;
            let mut arguments =
                vec![Argument { kind: SOURCE, memory: source }, Argument { kind: DESTINATION, memory: destination }];
            let elementwise = match function {
                "relu" => Some((0x20, 0.0)),
                "tanh" => Some((0x21, 0.0)),
                "sigmoid" => Some((0x29, 0.0)),
                "exp" => Some((0x2a, 0.0)),
                "gelu_tanh" => Some((0x2b, 0.0)),
                "silu" => Some((0x2c, 1.0)),
                "log" => Some((0x2d, 0.0)),
                "gelu_erf" => Some((0x31, 0.0)),
                _ => None,
            };
            match (function, elementwise) {
                (_, Some((algorithm, alpha))) => {
                    call!(self.library, b"dnnl_eltwise_forward_primitive_desc_create", *mut Object: &raw mut description, Object: self.engine, c_int: FORWARD_INFERENCE, c_int: algorithm, Object: layout, Object: layout, f32: alpha, f32: 0.0, Object: null_mut())?;
                }
                ("softmax" | "log_softmax", _) => {
                    let algorithm = 0x30000 + c_int::from(function == "log_softmax");
                    call!(self.library, b"dnnl_softmax_forward_primitive_desc_create", *mut Object: &raw mut description, Object: self.engine, c_int: FORWARD_INFERENCE, c_int: algorithm, Object: layout, Object: layout, c_int: 1, Object: null_mut())?;
                }
                ("layer_norm", _) => {
                    const SCALE_AND_SHIFT: u32 = 2 | 4;
                    call!(self.library, b"dnnl_layer_normalization_forward_primitive_desc_create", *mut Object: &raw mut description, Object: self.engine, c_int: FORWARD_INFERENCE, Object: layout, Object: layout, Object: null_mut(), f32: EPSILON, u32: SCALE_AND_SHIFT, Object: null_mut())?;
                    let (_, scale) = self.memory(&[gamma.len()], gamma.as_mut_ptr())?;
                    let (_, shift) = self.memory(&[gamma.len()], beta.as_mut_ptr())?;
                    arguments
                        .extend([Argument { kind: SCALE, memory: scale }, Argument { kind: SHIFT, memory: shift }]);
                }
                _ => return Err("no such primitive".into()),
            }
            call!(self.library, b"dnnl_primitive_create", *mut Object: &raw mut primitive, Object: description)?;
            Ok((primitive, arguments))
        }
    }

    /// The function, where oneDNN has it.
    pub(crate) fn of<'a>(&'a self, function: &str, data: &'a RefCell<Data>) -> Option<Contestant<'a>> {
        let (primitive, arguments) = self.primitive(function, &mut data.borrow_mut()).ok()?;
        type Execute = unsafe extern "C" fn(Object, Object, c_int, *const Argument) -> c_int;
        // SAFETY: the functions have these types in oneDNN's header.
        let (execute, wait) = unsafe {
            let execute: Symbol<'_, Execute> = self.library.get(b"dnnl_primitive_execute").ok()?;
            let wait: Symbol<'_, unsafe extern "C" fn(Object) -> c_int> = self.library.get(b"dnnl_stream_wait").ok()?;
            (*execute, *wait)
        };
        let stream = self.stream;
        Some(Contestant::new("oneDNN", move || {
            let _in_use = data.borrow_mut();
            // SAFETY: the primitive and its arguments were made for one another, on memory that `data` owns.
            unsafe {
                execute(primitive, stream, arguments.len() as c_int, arguments.as_ptr());
                wait(stream);
            }
        }))
    }
}
