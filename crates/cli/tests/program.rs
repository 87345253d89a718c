//! The program as a whole: help, levels, errors, and the commands about machine and files.

mod support;

use support::{folder, kernform, levels, repository, run, run_command};

const COMMANDS: [&str; 6] = ["pronounce", "run", "generate", "inspect", "isa", "selftest"];

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn every_command_has_help_with_examples() {
    let help = run(&["--help"], "");
    assert_eq!(help.code, Some(0));
    assert!(help.stdout.contains("Exit codes:") && help.stdout.contains("KERNFORM_ISA"));
    for command in COMMANDS {
        assert!(help.stdout.contains(command));
        let help = run(&[command, "--help"], "");
        assert_eq!((help.code, help.stderr.as_str()), (Some(0), ""));
        assert!(help.stdout.contains("Example"), "{command}");
    }
    let version = run(&["--version"], "");
    assert_eq!(version.stdout, format!("kernform {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn a_wrong_command_line_is_exit_code_2() {
    for arguments in
        [&[][..], &["sing"], &["isa", "--loud"], &["run", "somewhere"], &["inspect"], &["--isa", "mmx", "isa"]]
    {
        let done = run(arguments, "");
        assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""), "{arguments:?}");
        assert!(!done.stderr.is_empty());
    }
}

#[test]
fn the_level_is_the_one_asked_for() {
    for (level, class) in levels() {
        let by_flag = json(&run(&["--isa", &level, "isa", "--json"], "").stdout);
        assert_eq!((&by_flag["used"], &by_flag["class"]), (&level.clone().into(), &class.into()));
        assert_eq!(by_flag["reason"], "asked for by --isa");
        let by_variable = json(&run_command(kernform().args(["isa", "--json"]).env("KERNFORM_ISA", &level), "").stdout);
        assert_eq!(
            (&by_variable["used"], &by_variable["reason"]),
            (&level.into(), &"asked for by KERNFORM_ISA".into())
        );
    }
    // The flag goes before the variable, an empty variable is none.
    let both = run_command(kernform().args(["isa", "--json", "--isa", "scalar"]).env("KERNFORM_ISA", "portable"), "");
    assert_eq!(json(&both.stdout)["used"], "scalar");
    let empty = run_command(kernform().args(["isa", "--json"]).env("KERNFORM_ISA", ""), "");
    assert_eq!(json(&empty.stdout)["reason"], "the best that this CPU can run");
}

#[test]
fn a_level_that_cannot_run_is_refused_before_anything_runs() {
    let foreign = if cfg!(target_arch = "aarch64") { "avx2" } else { "neon" };
    for value in [foreign, "mmx"] {
        let done = run_command(kernform().args(["pronounce", "word"]).env("KERNFORM_ISA", value), "");
        assert_eq!((done.code, done.stdout.as_str()), (Some(2), ""));
        assert!(done.stderr.starts_with("error: ") && done.stderr.contains("KERNFORM_ISA"), "{}", done.stderr);
        assert!(done.stderr.contains("scalar"), "it says what there is: {}", done.stderr);
    }
}

#[test]
fn isa_marks_the_level_in_use() {
    let done = run(&["--isa", "scalar", "isa"], "");
    assert!(done.stdout.contains("-> scalar "), "{}", done.stdout);
    assert!(done.stdout.contains("used     scalar, asked for by --isa"));
}

#[test]
fn inspect_shows_every_tensor_and_the_totals() {
    let model = repository("crates/model/assets/g2p");
    for path in [model.clone(), model.join("model.safetensors")] {
        let path = path.to_str().unwrap();
        let report = json(&run(&["inspect", "--json", path], "").stdout);
        let tensors = report["tensors"].as_array().unwrap();
        let sum = |key: &str| tensors.iter().map(|tensor| tensor[key].as_u64().unwrap()).sum::<u64>();
        assert_eq!(report["total"]["tensors"], tensors.len());
        assert_eq!(report["total"]["parameters"], sum("parameters"));
        assert_eq!(report["total"]["stored_bytes"], 2 * sum("parameters"), "all are f16");
        let text = run(&["inspect", path], "");
        assert_eq!(text.code, Some(0));
        assert!(tensors.iter().all(|tensor| text.stdout.contains(tensor["name"].as_str().unwrap())));
    }
    let text = run(&["inspect", model.to_str().unwrap()], "").stdout;
    assert!(text.contains("family  marian") && text.contains("4 layers, 4 heads, feed-forward 512"), "{text}");
    assert!(text.contains("as run"), "{text}");
}

#[test]
fn inspect_refuses_what_is_no_model() {
    let folder = folder("no-model");
    std::fs::write(folder.join("cut.safetensors"), b"\xff\xff\0\0").unwrap();
    for path in ["cut.safetensors", "missing.safetensors", "."] {
        let done = run(&["inspect", folder.join(path).to_str().unwrap()], "");
        assert_eq!((done.code, done.stdout.as_str()), (Some(1), ""), "{path}");
        assert!(done.stderr.starts_with("error: "), "{}", done.stderr);
    }
}

#[test]
fn the_selftest_passes_on_every_level() {
    let report = json(&run(&["selftest", "--quick", "--json"], "").stdout);
    assert_eq!(report["equal"], true, "{report}");
    let results = report["results"].as_array().unwrap();
    let levels = levels();
    assert_eq!(results.len() % levels.len(), 0);
    for (level, _) in levels {
        let mine: Vec<_> = results.iter().filter(|result| result["level"] == *level).collect();
        assert!(mine.len() >= 30, "{level}");
        assert!(mine.iter().all(|result| result["values"].as_u64() > Some(0) && result["speed"].as_f64() > Some(0.0)));
    }
    let has_formats = results.iter().any(|result| result["kernel"] == "Q4_K, product");
    assert_eq!(has_formats, cfg!(feature = "quant-selftest"));
    let table = run(&["selftest", "--quick", "--isa", "scalar"], "");
    assert_eq!(table.code, Some(0), "{}", table.stderr);
    assert!(table.stdout.contains("all bits equal"), "{}", table.stdout);
}
