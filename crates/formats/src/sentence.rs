//! What sentence-transformers adds to a model folder: how the states of a model become one vector for a text.

use crate::{Error, ErrorKind, Json};
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// How the states of a sequence become one vector, as sentence-transformers names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The first token (`cls_token`).
    Cls,
    /// The mean over the tokens (`mean_tokens`).
    Mean,
    /// The largest value of each column (`max_tokens`).
    Max,
    /// The sum over the tokens, divided by the square root of their number (`mean_sqrt_len_tokens`).
    MeanSqrtLen,
    /// The mean over the tokens, the `n`th of which, counted from 1, has the weight `n` (`weightedmean_tokens`).
    WeightedMean,
    /// The last token (`lasttoken`).
    LastToken,
}

impl Pooling {
    /// All ways, in the order in which sentence-transformers puts the vectors of several side by side, with the key of each.
    const KEYS: [(&'static str, Self); 6] = [
        ("pooling_mode_cls_token", Self::Cls),
        ("pooling_mode_max_tokens", Self::Max),
        ("pooling_mode_mean_tokens", Self::Mean),
        ("pooling_mode_mean_sqrt_len_tokens", Self::MeanSqrtLen),
        ("pooling_mode_weightedmean_tokens", Self::WeightedMean),
        ("pooling_mode_lasttoken", Self::LastToken),
    ];

    /// The name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cls => "cls",
            Self::Mean => "mean",
            Self::Max => "max",
            Self::MeanSqrtLen => "mean-sqrt-len",
            Self::WeightedMean => "weighted-mean",
            Self::LastToken => "last",
        }
    }
}

/// `modules.json` and the files that it leads to.
#[derive(Clone, Debug, PartialEq)]
pub struct SentenceConfig {
    /// The vectors that are put side by side; at least one.
    pub pooling: Vec<Pooling>,
    /// Whether the vector is divided by its length.
    pub normalize: bool,
    /// The most tokens of a text; longer ones are cut.
    pub max_seq_length: Option<usize>,
    /// Texts that stand before others, by name.
    pub prompts: Vec<(String, String)>,
    /// The prompt that is used when none is asked for.
    pub default_prompt: Option<String>,
}

/// The class names of modules end in these.
const MODULES: &str = "Transformer, Pooling and Normalize";

impl SentenceConfig {
    /// Reads `modules.json`; `read` gives a further file of the folder by its path there, or `None` where there is none.
    ///
    /// # Errors
    /// Modules other than a Transformer, a pooling and perhaps a normalisation, in this order; a path that leaves the
    /// folder; values of the wrong type; and what `read` says.
    pub fn parse(modules: &Json, mut read: impl FnMut(&str) -> Result<Option<Json>, Error>) -> Result<Self, Error> {
        let mut pooling = Vec::new();
        let mut normalize = false;
        let wrong = |module: &str, problem: String| {
            Error::from(ErrorKind::Module { module: module.to_string(), problem }).in_file(modules.file())
        };
        for (i, module) in modules.items()?.iter().enumerate() {
            let kind = module.required_str("type")?;
            let path = module.str_or("path", "")?;
            if !is_inside(path) {
                return Err(wrong(kind, format!("its path {path:?} is not that of a folder inside this one")));
            }
            match (i, kind.rsplit('.').next().unwrap_or_default()) {
                (0, "Transformer") if path.is_empty() => {}
                (0, "Transformer") => {
                    return Err(wrong(kind, format!("the model stands in the folder {path:?}; give that folder")));
                }
                (1, "Pooling") => {
                    let file = if path.is_empty() { "config.json".into() } else { format!("{path}/config.json") };
                    let config = read(&file)?.ok_or_else(|| wrong(kind, format!("there is no {file}")))?;
                    pooling = modes(&config)?;
                    if pooling.is_empty() {
                        return Err(wrong(kind, format!("{file} switches no way of pooling on")));
                    }
                }
                (2.., "Normalize") => normalize = true,
                _ => {
                    return Err(wrong(
                        kind,
                        format!("is not known in place {i}; the modules are {MODULES}, in this order"),
                    ));
                }
            }
        }
        if pooling.is_empty() {
            return Err(wrong("Pooling", format!("is missing; the modules are {MODULES}, in this order")));
        }
        let max_seq_length = match read("sentence_bert_config.json")? {
            Some(config) => config.optional_usize("max_seq_length")?,
            None => None,
        };
        let mut config = Self { pooling, normalize, max_seq_length, prompts: Vec::new(), default_prompt: None };
        if let Some(options) = read("config_sentence_transformers.json")? {
            config.read_prompts(&options)?;
        }
        Ok(config)
    }

    fn read_prompts(&mut self, options: &Json) -> Result<(), Error> {
        if let Some(prompts) = options.optional("prompts")? {
            for (name, prompt) in prompts.entries()? {
                self.prompts.push((name.to_string(), prompt.as_str()?.to_string()));
            }
        }
        self.default_prompt = options.optional_str("default_prompt_name")?.map(str::to_string);
        match &self.default_prompt {
            Some(name) if self.prompt(name).is_none() => {
                let problem = format!("default_prompt_name is {name:?}, but prompts has none of that name");
                Err(Error::from(ErrorKind::Module { module: "prompts".to_string(), problem }).in_file(options.file()))
            }
            _ => Ok(()),
        }
    }

    /// The prompt of that name.
    #[must_use]
    pub fn prompt(&self, name: &str) -> Option<&str> {
        self.prompts.iter().find(|(known, _)| known == name).map(|(_, prompt)| prompt.as_str())
    }
}

fn modes(config: &Json) -> Result<Vec<Pooling>, Error> {
    let mut modes = Vec::new();
    for (key, mode) in Pooling::KEYS {
        if config.bool_or(key, false)? {
            modes.push(mode);
        }
    }
    Ok(modes)
}

/// Whether a path is that of the folder itself or leads down from it, on every system.
fn is_inside(path: &str) -> bool {
    let is_plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    path.is_empty() || (!path.contains(['\\', ':', '\0']) && path.split('/').all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert!(["", "1_Pooling", "a/b"].into_iter().all(is_inside));
        assert!(["..", "a/../..", "/a", "a//b", "C:", "a\\..\\b", ".", "a/"].into_iter().all(|path| !is_inside(path)));
    }
}
