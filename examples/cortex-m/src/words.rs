//! The whole Transformer: spelling to pronunciation with the embedded weights.

use alloc::string::ToString;
use alloc::vec::Vec;
use alloc::{format, vec};

use kernform::Isa;
use kernform::model::g2p::{MAX_PHONEMES, Pronouncer};
use kernform::model::{Limits, ModelError, Plan, Session, generate};
use kernform::tensor::Serial;

const WORDS: [&str; 3] = ["attention", "is", "kernels"];

/// Calls `line` with each word and its pronunciation.
pub(crate) fn pronounce(isa: Isa, line: &mut dyn FnMut(&str)) -> crate::Result {
    let wrong = |error: ModelError| error.to_string();
    let pronouncer = Pronouncer::new(isa).map_err(wrong)?;
    let limits = Limits { rows: 1, sources: 1, source_len: 16, target_len: MAX_PHONEMES, encode_tokens: 16 };
    let plan = Plan::new(pronouncer.model(), limits, &Serial).map_err(wrong)?;
    let mut buffer = vec![0.0; plan.scratch_len()];
    let mut session = Session::new(pronouncer.model(), &plan, &mut buffer).map_err(wrong)?;
    let spelled = WORDS.iter().map(|word| pronouncer.spell(word)).collect::<Result<Vec<_>, _>>();
    let inputs = spelled.map_err(|error| error.to_string())?;
    generate(&mut session, &Serial, pronouncer.search(), &pronouncer.prompt(), inputs.into_iter(), |index, search| {
        if let Some(best) = search?.hypotheses().next() {
            let phonemes: Vec<&str> = pronouncer.phonemes(best.tokens).collect();
            line(&format!("{}: {}", WORDS[index], phonemes.join(" ")));
        }
        Ok::<_, ModelError>(())
    })
    .map_err(wrong)
}
