//! Any bytes as a safetensors file: an error or tensors that can all be read, and that survive being written again.
#![no_main]

use kernform_formats::SafetensorsFile;
use kernform_formats::safetensors::to_bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let Ok(file) = SafetensorsFile::parse(input) else { return };
    let mut tensors = Vec::new();
    for tensor in file.tensors() {
        let tensor = tensor.expect("a checked header gives every tensor");
        assert_eq!(tensor.bytes().len(), tensor.len() * tensor.dtype().size());
        assert!(tensor.to_f32().is_ok() == tensor.dtype().is_float());
        let _ = (tensor.to_i64(), tensor.as_slice::<f32>());
        tensors.push(tensor);
    }
    let metadata: Vec<_> = file.metadata().iter().map(|(key, text)| (key.as_str(), text.as_str())).collect();
    let written = to_bytes(&tensors, &metadata).expect("what was read can be written");
    let again = SafetensorsFile::parse(&written).expect("what was written can be read");
    for tensor in &tensors {
        let copy = again.tensor(tensor.name()).expect("every tensor was written");
        assert_eq!((copy.dtype(), copy.dims(), copy.bytes()), (tensor.dtype(), tensor.dims(), tensor.bytes()));
    }
});
