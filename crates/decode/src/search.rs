use kernform_simd::Isa;

use crate::beam::BeamSearch;
use crate::config::GenerationConfig;
use crate::error::Error;
use crate::greedy::GreedySearch;

/// Whether a search wants another step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It wants the logits for its `inputs`.
    Running,
    /// Its hypotheses are final.
    Done,
}

/// A sequence that a search found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hypothesis<'a> {
    /// The prompt and the generated tokens, with the end-of-sequence token where one came; never padded.
    pub tokens: &'a [u32],
    /// Sum of the log-probabilities of the generated tokens, after all rules; `None` where a greedy search does not count it.
    pub log_probability: Option<f32>,
    /// In beam search `log_probability / generated_length ^ length_penalty`, and what hypotheses are ordered by; in greedy
    /// search equal to `log_probability`.
    pub score: Option<f32>,
    /// False for a sequence that has not ended. A beam search returns such ones, with scores near -1e9, only when there
    /// are fewer possible sequences than hypotheses asked for.
    pub finished: bool,
}

/// A greedy or a beam search, whichever the number of beams asks for.
#[derive(Debug, Clone)]
#[allow(clippy::large_enum_variant)] // one an input: its vectors are far larger than either variant
pub enum Search {
    /// One beam.
    Greedy(GreedySearch),
    /// Several beams.
    Beam(BeamSearch),
}

impl Search {
    /// See [`GreedySearch::new`] and [`BeamSearch::new`].
    ///
    /// # Errors
    /// As there.
    pub fn new(config: &GenerationConfig, prompt: &[u32], vocab: usize) -> Result<Self, Error> {
        Self::with_isa(Isa::best(), config, prompt, vocab)
    }

    /// [`Search::new`] on a level of choice. All levels of one arithmetic class give the same bits.
    ///
    /// # Errors
    /// As [`Search::new`].
    pub fn with_isa(isa: Isa, config: &GenerationConfig, prompt: &[u32], vocab: usize) -> Result<Self, Error> {
        if config.num_beams > 1 {
            BeamSearch::with_isa(isa, config, prompt, vocab).map(Self::Beam)
        } else {
            GreedySearch::with_isa(isa, config, prompt, vocab).map(Self::Greedy)
        }
    }

    /// Rows of the next step; 0 when the search is done.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Greedy(search) => search.rows(),
            Self::Beam(search) => search.rows(),
        }
    }

    /// For each row of the next step, the row of the previous step that it continues and the token that it appends.
    #[must_use]
    pub fn inputs(&self) -> (&[usize], &[u32]) {
        match self {
            Self::Greedy(search) => search.inputs(),
            Self::Beam(search) => search.inputs(),
        }
    }

    /// Takes the logits `[rows, vocab]` that follow from [`Search::inputs`].
    ///
    /// # Errors
    /// See [`GreedySearch::advance`] and [`BeamSearch::advance`].
    pub fn advance(&mut self, logits: &[f32]) -> Result<Status, Error> {
        match self {
            Self::Greedy(search) => search.advance(logits),
            Self::Beam(search) => search.advance(logits),
        }
    }

    /// True when the hypotheses are final.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.rows() == 0
    }

    /// `num_return_sequences` hypotheses, best first.
    pub fn hypotheses(&self) -> impl Iterator<Item = Hypothesis<'_>> {
        let (greedy, beam) = match self {
            Self::Greedy(search) => (Some(search.hypothesis()), None),
            Self::Beam(search) => (None, Some(search.hypotheses())),
        };
        greedy.into_iter().chain(beam.into_iter().flatten())
    }
}
