//! Detection, choice and cap. One test function: the cap is process-wide.

use kernform_simd::{Isa, Level, cap};

#[test]
fn best_obeys_the_cap_and_available_does_not() {
    let available: Vec<Level> = Isa::available().map(Isa::level).collect();
    assert!(available.contains(&Level::Scalar) && available.contains(&Level::Portable));
    assert!(available.is_sorted());
    for level in Level::ALL {
        assert_eq!(Isa::new(level).is_ok(), available.contains(&level), "{level}");
        assert_eq!(level.name().parse(), Ok(level));
        cap(Some(level));
        assert!(Isa::best().level() <= level || Isa::best().level() == Level::ScalarUnfused);
        if available.contains(&level) {
            assert_eq!(Isa::best().level(), level, "a level that is named and present is the one chosen");
        }
    }
    cap(None);
    if std::env::var_os("KERNFORM_ISA").is_none() {
        #[cfg(target_arch = "x86_64")]
        if std::is_x86_feature_detected!("avx2") && std::is_x86_feature_detected!("fma") {
            assert!(Isa::best().level() >= Level::Avx2);
        }
        #[cfg(target_arch = "aarch64")]
        assert_eq!(Isa::best().level().base(), Level::Neon);
    }
    assert_eq!(Isa::available().map(Isa::level).collect::<Vec<_>>(), available);
}

#[test]
fn errors_say_what_is_wrong_and_what_would_be_right() {
    let unknown = "sse9".parse::<Level>().unwrap_err().to_string();
    assert!(unknown.contains("avx2") && unknown.contains("scalar-unfused"), "{unknown}");
    let missing = Level::ALL.into_iter().find_map(|level| Isa::new(level).err()).expect("no CPU has every level");
    let message = missing.to_string();
    assert!(message.contains(missing.level.name()) && message.contains("portable"), "{message}");
}

/// Detection by CPUID against the standard library's own.
#[cfg(target_arch = "x86_64")]
#[test]
fn detection_agrees_with_the_standard_library() {
    use std::is_x86_feature_detected as has;
    let avx2 = has!("avx2") && has!("fma") && has!("f16c");
    assert_eq!(Isa::new(Level::Avx2).is_ok(), avx2);
    let avx512 = avx2 && has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq");
    assert_eq!(Isa::new(Level::Avx512).is_ok(), avx512);
    assert_eq!(Isa::new(Level::AvxVnni).is_ok(), avx2 && has!("avxvnni"));
    assert_eq!(Isa::new(Level::Avx512Vnni).is_ok(), avx512 && has!("avx512vnni"));
}

/// A level with integer instructions stands beside its base: the same class, and the base runs wherever it does.
#[test]
fn levels_with_integer_instructions_refine_their_base() {
    for level in Level::ALL {
        let base = level.base();
        assert!(base <= level && base.base() == base && base.class() == level.class(), "{level}");
        assert!(Isa::new(level).is_err() || Isa::new(base).is_ok(), "{level} without {base}");
    }
}
