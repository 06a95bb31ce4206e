//! What was measured, round by round, and what it must be.

use serde::Serialize;

use crate::bench::harness::{greatest, least, median};

/// What a median must be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Must {
    AtLeast(f64),
    LessThan(f64),
}

impl Must {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::LessThan(bound) => value < bound,
        }
    }

    fn words(self) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::LessThan(bound) => format!("< {bound}"),
        }
    }
}

/// One figure of all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Figure {
    what: String,
    unit: &'static str,
    must: Option<Must>,
    median: f64,
    least: f64,
    greatest: f64,
    values: Vec<f64>,
}

/// All figures, in the order of their first round.
#[derive(Debug, Default)]
pub(crate) struct Figures(Vec<Figure>);

impl Figures {
    /// One more value.
    pub(crate) fn add(&mut self, what: &str, unit: &'static str, value: f64, must: Option<Must>) {
        let known = self.0.iter().position(|figure| figure.what == what);
        let at = known.unwrap_or_else(|| {
            self.0.push(Figure {
                what: what.to_owned(),
                unit,
                must,
                median: value,
                least: value,
                greatest: value,
                values: Vec::new(),
            });
            self.0.len() - 1
        });
        let figure = &mut self.0[at];
        figure.values.push(value);
        figure.median = median(&figure.values);
        figure.least = least(&figure.values);
        figure.greatest = greatest(&figure.values);
    }

    pub(crate) fn all(&self) -> &[Figure] {
        &self.0
    }

    /// What is not as it must be.
    pub(crate) fn missed(&self) -> Vec<String> {
        let missed = |figure: &&Figure| figure.must.is_some_and(|must| !must.holds(figure.median));
        let words = |figure: &Figure| {
            let must = figure.must.map(Must::words).unwrap_or_default();
            format!("{} is {}, not {must}", figure.what, shown(figure.median))
        };
        self.0.iter().filter(missed).map(words).collect()
    }

    pub(crate) fn table(&self) -> String {
        let mut table = "| what | median (least–greatest) | must |\n|---|---|---|\n".to_owned();
        for figure in &self.0 {
            let unit = match figure.unit {
                "" => String::new(),
                unit => format!(" {unit}"),
            };
            let must = figure.must.map_or("–".to_owned(), Must::words);
            let bold = match figure.must {
                Some(must) if !must.holds(figure.median) => "**",
                Some(_) | None => "",
            };
            table += &format!(
                "| {} | {bold}{}{bold}{unit} ({}–{}) | {must} |\n",
                figure.what,
                shown(figure.median),
                shown(figure.least),
                shown(figure.greatest)
            );
        }
        table
    }
}

/// Three digits that say something.
fn shown(value: f64) -> String {
    match value.abs() {
        big if big >= 100.0 => format!("{value:.0}"),
        middle if middle >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_what_counts() {
        let mut figures = Figures::default();
        for ratio in [0.3, 0.5, 0.4] {
            figures.add("ratio", "", ratio, Some(Must::AtLeast(0.4)));
        }
        for memory in [24.0, 26.0, 25.0] {
            figures.add("memory", "MB", memory, Some(Must::LessThan(25.0)));
        }
        assert_eq!(figures.missed(), ["memory is 25.0, not < 25"]);
        let table = figures.table();
        assert!(
            table.contains("| ratio | 0.40 (0.30–0.50) | ≥ 0.4 |"),
            "{table}"
        );
        assert!(
            table.contains("| memory | **25.0** MB (24.0–26.0) | < 25 |"),
            "{table}"
        );
    }
}
