//! AVX-VNNI on CPUs that lack it: the level's kernels run as they are, and a signal handler stands in for the instructions
//! that the CPU refuses. The tests of all crates with such kernels include this file.
//!
//! A CPU without AVX-VNNI raises #UD at a VEX-coded `vpdpbusd`, which Linux hands to the thread as SIGILL. The handler
//! decodes the instruction, computes its result in plain Rust from the registers in the signal frame, writes it there,
//! and lets the thread go on behind it. Any other illegal instruction kills the process as it would without a handler.
//!
//! Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 1, 13.4 (XSAVE area), and volume 2, 2.3
//! (VEX) and the pages of the four instructions; Linux `arch/x86/include/uapi/asm/sigcontext.h` (the frame).

use core::arch::x86_64::__cpuid_count;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, Once, PoisonError};

use kernform_simd::{Isa, Level};
use kernform_testkit::with_at_most;

/// Instructions that the handler has carried out.
static EMULATED: AtomicUsize = AtomicUsize::new(0);
/// Where the upper halves of ZMM0 to ZMM15 lie in an XSAVE area; 0 where the CPU has none.
static ZMM_HIGH: AtomicUsize = AtomicUsize::new(0);

/// Runs `body` on the level AVX-VNNI: the CPU's own, or else AVX2 and the handler.
///
/// # Panics
/// Where `body` executed no instruction of AVX-VNNI, as far as that can be known: a check that ran something else.
pub(crate) fn run(body: fn(Isa)) {
    if let Ok(isa) = Isa::new(Level::AvxVnni) {
        assert_eq!(isa.level(), Level::AvxVnni);
        return body(isa);
    }
    if let Err(error) = Isa::new(Level::Avx2) {
        eprintln!("NOT RUN, not even with AVX-VNNI emulated: {error}");
        return;
    }
    if is_qemu() {
        eprintln!(
            "NOT RUN, not even with AVX-VNNI emulated: the handler knows the signal frames of Linux, not those of QEMU"
        );
        return;
    }
    // Tests may share a process; each shall count its own.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    install();
    let before = EMULATED.load(Relaxed);
    // SAFETY: the CPU has AVX2, FMA and F16C, and the handler carries out what AVX-VNNI adds to them.
    let isa = unsafe { Isa::new_unchecked(Level::AvxVnni) };
    // An instruction takes some microseconds.
    with_at_most(20, || body(isa));
    let emulated = EMULATED.load(Relaxed) - before;
    assert!(emulated > 0, "no instruction of AVX-VNNI was executed");
    eprintln!("emulated {emulated} instructions of AVX-VNNI");
}

/// Whether this CPU is one of QEMU's own, which says so in the leaf that hypervisors sign.
fn is_qemu() -> bool {
    let leaf = __cpuid_count(0x4000_0000, 0);
    [leaf.ebx, leaf.ecx, leaf.edx] == [*b"TCGT", *b"CGTC", *b"GTCG"].map(u32::from_le_bytes)
}

/// Installs the handler, once a process.
pub(crate) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        if Isa::new(Level::Avx512).is_ok() {
            // State component 6; EBX is its place in the standard format.
            ZMM_HIGH.store(__cpuid_count(0xd, 6).ebx as usize, Relaxed);
        }
        // SAFETY: all zeros is a value of the structure: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = on_sigill as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the handler has the form that SA_SIGINFO asks for, and calls nothing that a handler may not.
        let failed = unsafe { libc::sigaction(libc::SIGILL, &action, core::ptr::null_mut()) };
        assert_eq!(failed, 0, "no handler for SIGILL: {}", std::io::Error::last_os_error());
    });
}

extern "C" fn on_sigill(signal: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes the context of the thread that it interrupted at an illegal instruction.
    if unsafe { emulate(&mut *context.cast::<libc::ucontext_t>()) }.is_none() {
        // The thread executes the instruction again, and now dies of it.
        // SAFETY: `signal` may be called in a handler.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// The places of the general registers in the context, by their numbers in instructions.
const GENERAL: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

/// The bytes of an instruction, read one after the other: behind its end there may be no memory.
struct Code(*const u8);

impl Code {
    /// # Safety
    /// The CPU would read the bytes as well.
    unsafe fn take<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        for byte in &mut bytes {
            // SAFETY: by the caller's word.
            unsafe {
                *byte = self.0.read();
                self.0 = self.0.add(1);
            }
        }
        bytes
    }
}

/// Carries out the instruction at which the thread stands, or returns `None` where it is none of AVX-VNNI's.
///
/// # Safety
/// The context is that of a thread that was interrupted at an illegal instruction.
unsafe fn emulate(context: &mut libc::ucontext_t) -> Option<()> {
    let general = &mut context.uc_mcontext.gregs;
    let mut code = Code(general[libc::REG_RIP as usize] as *const u8);
    // SAFETY: the CPU read these bytes: it got as far as the opcode only if those before were as they are here, and the
    // opcodes below have what follows.
    let (prefix, flags, opcode, modrm) = unsafe {
        let [0xc4] = code.take() else { return None };
        let [prefix] = code.take();
        let [flags] = code.take();
        // Opcode map 0F38; W 0; the prefix 66.
        if prefix & 0x1f != 2 || flags & 0x83 != 1 {
            return None;
        }
        let [opcode @ 0x50..=0x53] = code.take() else { return None };
        let [modrm] = code.take();
        (prefix, flags, opcode, modrm)
    };
    // The highest bits of register numbers are stored inverted.
    let (high_reg, high_index, high_rm) = (!prefix >> 7 & 1, !prefix >> 6 & 1, !prefix >> 5 & 1);
    let (mode, reg, rm) = (modrm >> 6, high_reg << 3 | modrm >> 3 & 7, high_rm << 3 | modrm & 7);
    let first = usize::from(!flags >> 3 & 15);
    let bytes = if flags & 4 != 0 { 32 } else { 16 };

    // SAFETY: as above; and the CPU would read the memory operand, of `bytes` bytes, as well.
    let (state, second) = unsafe {
        let state = State::of(context.uc_mcontext.fpregs.cast())?;
        let second = if mode == 3 {
            state.register(rm.into())
        } else {
            let address = address(&mut code, general, mode, rm, high_index);
            let mut memory = [0; 32];
            core::ptr::copy_nonoverlapping(address as *const u8, memory.as_mut_ptr(), bytes);
            memory
        };
        (state, second)
    };
    // SAFETY: as above.
    unsafe {
        let mut sums = state.register(reg.into());
        dot(opcode, &mut sums, &state.register(first), &second);
        sums[bytes..].fill(0);
        state.set_register(reg.into(), &sums);
    }
    general[libc::REG_RIP as usize] = code.0 as i64;
    EMULATED.fetch_add(1, Relaxed);
    Some(())
}

/// The address of a memory operand. Reads what of the instruction follows its ModRM byte.
///
/// # Safety
/// As for [`Code::take`].
unsafe fn address(code: &mut Code, general: &[libc::greg_t; 23], mode: u8, rm: u8, high_index: u8) -> i64 {
    let value = |number: u8| general[GENERAL[usize::from(number)] as usize];
    // SAFETY: by the caller's word.
    unsafe {
        if mode == 0 && rm & 7 == 5 {
            let offset = i32::from_le_bytes(code.take());
            // From the end of the instruction, where `code` stands now.
            return (code.0 as i64).wrapping_add(offset.into());
        }
        let (mut sum, mut has_base) = (0i64, true);
        if rm & 7 == 4 {
            let [sib] = code.take();
            let (index, base) = (high_index << 3 | sib >> 3 & 7, (rm & 8) | sib & 7);
            if index != 4 {
                sum = value(index) << (sib >> 6);
            }
            has_base = mode != 0 || base & 7 != 5;
            if has_base {
                sum = sum.wrapping_add(value(base));
            }
        } else {
            sum = value(rm);
        }
        let offset = match mode {
            1 => i8::from_le_bytes(code.take()).into(),
            0 if has_base => 0,
            _ => i32::from_le_bytes(code.take()),
        };
        sum.wrapping_add(offset.into())
    }
}

/// What the four instructions compute, on 32 bytes.
fn dot(opcode: u8, sums: &mut [u8; 32], first: &[u8; 32], second: &[u8; 32]) {
    for (sum, (a, b)) in sums.chunks_exact_mut(4).zip(first.chunks_exact(4).zip(second.chunks_exact(4))) {
        let products: i64 = if opcode < 0x52 {
            a.iter().zip(b).map(|(a, b)| i64::from(*a) * i64::from(b.cast_signed())).sum()
        } else {
            let word = |x: &[u8]| i64::from(i16::from_le_bytes([x[0], x[1]]));
            word(a) * word(b) + word(&a[2..]) * word(&b[2..])
        };
        let before = i32::from_le_bytes([sum[0], sum[1], sum[2], sum[3]]);
        let after = i64::from(before) + products;
        // The odd opcodes saturate, the others wrap.
        let after = if opcode & 1 == 1 { after.clamp(i32::MIN.into(), i32::MAX.into()) } else { after };
        sum.copy_from_slice(&(after as i32).to_le_bytes());
    }
}

/// The XSAVE area of a signal frame, in its standard format.
struct State(*mut u8);

/// Bits of XSTATE_BV and of what the kernel says it saved.
const SSE: u64 = 1 << 1;
const AVX: u64 = 1 << 2;
const ZMM_HIGH_256: u64 = 1 << 6;

impl State {
    const XMM: usize = 160;
    /// What the kernel writes where FXSAVE leaves room for software.
    const SOFTWARE: usize = 464;
    const HEADER: usize = 512;
    const YMM_HIGH: usize = 576;

    /// The area at `fpstate`; `None` where the kernel saved no YMM registers. Components that are in their initial state
    /// and perhaps not written are written here.
    ///
    /// # Safety
    /// The pointer is that of a signal frame of Linux on x86-64.
    unsafe fn of(fpstate: *mut u8) -> Option<State> {
        let state = State(fpstate);
        // SAFETY: the software's bytes are inside the 512 that every frame has; the magic numbers say what follows.
        unsafe {
            if fpstate.is_null() || state.read_u32(Self::SOFTWARE) != 0x4650_5853 {
                return None;
            }
            let saved = state.read_u64(Self::SOFTWARE + 8);
            let size = state.read_u32(Self::SOFTWARE + 16) as usize;
            let is_standard = state.read_u64(Self::HEADER + 8) >> 63 == 0;
            if saved & (SSE | AVX) != SSE | AVX || !is_standard || state.read_u32(size) != 0x4650_5845 {
                return None;
            }
            let present = state.read_u64(Self::HEADER);
            for (component, at) in [(SSE, Self::XMM), (AVX, Self::YMM_HIGH)] {
                if present & component == 0 {
                    fpstate.add(at).write_bytes(0, 256);
                }
            }
            fpstate.add(Self::HEADER).cast::<u64>().write_unaligned(present | SSE | AVX);
        }
        Some(state)
    }

    /// # Safety
    /// The place is inside the area.
    unsafe fn read_u32(&self, at: usize) -> u32 {
        // SAFETY: by the caller's word.
        unsafe { self.0.add(at).cast::<u32>().read_unaligned() }
    }

    /// # Safety
    /// The place is inside the area.
    unsafe fn read_u64(&self, at: usize) -> u64 {
        // SAFETY: by the caller's word.
        unsafe { self.0.add(at).cast::<u64>().read_unaligned() }
    }

    /// YMM register `i`, of 16.
    ///
    /// # Safety
    /// The area is as [`State::of`] found it.
    unsafe fn register(&self, i: usize) -> [u8; 32] {
        let mut bytes = [0; 32];
        // SAFETY: both halves of the 16 registers are inside the area.
        unsafe {
            self.0.add(Self::XMM + 16 * i).copy_to_nonoverlapping(bytes.as_mut_ptr(), 16);
            self.0.add(Self::YMM_HIGH + 16 * i).copy_to_nonoverlapping(bytes.as_mut_ptr().add(16), 16);
        }
        bytes
    }

    /// Writes YMM register `i`, of 16; the upper half of its ZMM register becomes 0, as by every VEX-coded instruction.
    ///
    /// # Safety
    /// As for [`State::register`].
    unsafe fn set_register(&self, i: usize, bytes: &[u8; 32]) {
        // SAFETY: as there; the component of the ZMM registers is there where the header has its bit.
        unsafe {
            self.0.add(Self::XMM + 16 * i).copy_from_nonoverlapping(bytes.as_ptr(), 16);
            self.0.add(Self::YMM_HIGH + 16 * i).copy_from_nonoverlapping(bytes.as_ptr().add(16), 16);
            let zmm_high = ZMM_HIGH.load(Relaxed);
            if zmm_high != 0 && self.read_u64(Self::HEADER) & ZMM_HIGH_256 != 0 {
                self.0.add(zmm_high + 32 * i).write_bytes(0, 32);
            }
        }
    }
}
