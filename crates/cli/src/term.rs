//! What the terminal can show.

use std::env;
use std::io::IsTerminal as _;

/// How colours are written to standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    /// Not at all.
    None,
    /// From the 6 x 6 x 6 cube of the 256-colour palette.
    Palette,
    /// As 24 bits.
    True,
}

impl Colours {
    /// What standard output takes: no colours into a file or a pipe, under `NO_COLOR` or on a dumb terminal;
    /// `CLICOLOR_FORCE` asks for them wherever the output goes.
    pub(crate) fn of_stdout() -> Self {
        Self::choose(std::io::stdout().is_terminal(), |name| env::var(name).ok())
    }

    /// A variable that is empty counts as not set.
    fn choose(is_terminal: bool, variable: impl Fn(&str) -> Option<String>) -> Self {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        let forced = variable("CLICOLOR_FORCE").is_some_and(|value| value != "0");
        let term = variable("TERM").unwrap_or_default();
        if variable("NO_COLOR").is_some() || !(forced || (is_terminal && term != "dumb")) {
            return Self::None;
        }
        let depth = variable("COLORTERM").unwrap_or_default();
        let is_true = matches!(depth.as_str(), "truecolor" | "24bit") || term.ends_with("-direct");
        if is_true { Self::True } else { Self::Palette }
    }

    /// The escape sequence that sets the background, empty without colours.
    pub(crate) fn background(self, [red, green, blue]: [u8; 3]) -> String {
        match self {
            Self::None => String::new(),
            Self::Palette => {
                // The cube's steps are 0, 95, 135, 175, 215, 255.
                let step = |value: u8| match value {
                    0..48 => 0,
                    48..115 => 1,
                    _ => (value - 35) / 40,
                };
                format!(
                    "\x1b[48;5;{}m",
                    16 + 36 * u16::from(step(red)) + 6 * u16::from(step(green)) + u16::from(step(blue))
                )
            }
            Self::True => format!("\x1b[48;2;{red};{green};{blue}m"),
        }
    }

    /// Back to the terminal's own colours.
    pub(crate) fn reset(self) -> &'static str {
        if self == Self::None { "" } else { "\x1b[0m" }
    }
}

/// Columns of the terminal that standard output goes to; unlimited where it is none.
pub(crate) fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stdout()).map_or(usize::MAX, |(width, _)| usize::from(width.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choose(is_terminal: bool, variables: &[(&str, &str)]) -> Colours {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Colours::choose(is_terminal, find)
    }

    #[test]
    fn colours_follow_the_terminal_and_the_environment() {
        let term = ("TERM", "xterm-256color");
        assert_eq!(choose(true, &[term]), Colours::Palette);
        assert_eq!(choose(true, &[term, ("COLORTERM", "truecolor")]), Colours::True);
        assert_eq!(choose(true, &[("TERM", "dumb")]), Colours::None);
        assert_eq!(choose(false, &[term]), Colours::None);
        assert_eq!(choose(false, &[("CLICOLOR_FORCE", "1")]), Colours::Palette);
        assert_eq!(choose(false, &[("CLICOLOR_FORCE", "0")]), Colours::None);
        assert_eq!(choose(true, &[term, ("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]), Colours::None);
        assert_eq!(choose(true, &[term, ("NO_COLOR", "")]), Colours::Palette);
    }

    #[test]
    fn the_palette_takes_the_nearest_step() {
        assert_eq!(Colours::Palette.background([0, 0, 0]), "\x1b[48;5;16m");
        assert_eq!(Colours::Palette.background([255, 255, 255]), "\x1b[48;5;231m");
        assert_eq!(Colours::Palette.background([95, 135, 215]), "\x1b[48;5;68m");
    }
}
