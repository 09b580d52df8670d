//! The report: one HTML page that needs nothing from anywhere, with its plots drawn in it.

use std::fmt::Write as _;

use serde_json::Value as Json;

use crate::latency::ms;
use crate::outcome::{Kind, Outcome};

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem;color:#1c1c1c;background:#fff}\
table{border-collapse:collapse;margin:1rem 0}th,td{text-align:right;padding:.2rem .8rem;border-bottom:1px solid #ddd}th:first-child,td:first-child{text-align:left}\
svg{max-width:100%;height:auto}.bad{color:#a40000;font-weight:600}.good{color:#0a6b2d}figcaption{color:#555;font-size:.9rem}pre{background:#f5f5f5;padding:1rem;overflow:auto}\
@media(prefers-color-scheme:dark){body{color:#e8e8e8;background:#161616}th,td{border-color:#444}pre{background:#222}figcaption{color:#aaa}}";

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 60.0;
const BOTTOM: f64 = 30.0;

/// Colours that are told apart with any eyes, one for each kind.
const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

/// What was asked of a run, and whether it was met.
pub struct Objective {
    /// As it was written.
    pub text: String,
    /// In which phase.
    pub phase: String,
    /// Whether it was met.
    pub met: bool,
    /// What was found: seconds, or a number.
    pub found: Option<f64>,
}

/// The page.
#[must_use]
pub fn page(name: &str, about: &str, machine: &Json, outcomes: &[Outcome], objectives: &[Objective]) -> String {
    let mut page = String::new();
    let title = escape(name);
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}: load test</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n<p>{}</p>\n",
        escape(about)
    );
    if !objectives.is_empty() {
        page.push_str("<h2>Objectives</h2>\n<table><tr><th>objective</th><th>phase</th><th>found</th><th></th></tr>\n");
        for objective in objectives {
            let (class, word) = if objective.met { ("good", "met") } else { ("bad", "not met") };
            let found = objective.found.map_or("nothing of the kind".to_owned(), |found| format!("{found:.4}"));
            let (text, phase) = (escape(&objective.text), escape(&objective.phase));
            let _ = writeln!(
                page,
                "<tr><td>{text}</td><td>{phase}</td><td>{found}</td><td class=\"{class}\">{word}</td></tr>"
            );
        }
        page.push_str("</table>\n");
    }
    for outcome in outcomes {
        phase(&mut page, outcome);
    }
    let machine = serde_json::to_string_pretty(machine).unwrap_or_default();
    let _ = write!(page, "<h2>Machine</h2>\n<pre>{}</pre>\n</body></html>\n", escape(&machine));
    page
}

fn phase(page: &mut String, outcome: &Outcome) {
    let asked = outcome.asked.map_or("as many as came back".to_owned(), |rate| format!("{rate} asked for"));
    let _ = write!(
        page,
        "<h2>{}</h2>\n<p>{} requests in {:.1} s: {:.0} a second ({asked}). {} records: {:.0} a second. {} errors. {:.1} % of the \
         answers were verified.</p>\n",
        escape(&outcome.name),
        outcome.requests,
        outcome.seconds,
        outcome.per_second(),
        outcome.records,
        outcome.records_per_second(),
        outcome.errors,
        100.0 * outcome.verified_share(),
    );
    for why in &outcome.saturated {
        let _ = writeln!(page, "<p class=\"bad\">The generator was saturated: {}.</p>", escape(why));
    }
    page.push_str("<table><tr><th>milliseconds</th><th>count</th><th>p50</th><th>p90</th><th>p99</th><th>p99.9</th><th>max</th></tr>\n");
    for (kind, latencies) in &outcome.latencies {
        let _ = write!(page, "<tr><td>{}</td><td>{}</td>", kind.name(), latencies.count());
        for percent in [50.0, 90.0, 99.0, 99.9] {
            let _ = write!(page, "<td>{:.2}</td>", ms(latencies.percentile(percent)));
        }
        let _ = writeln!(page, "<td>{:.2}</td></tr>", ms(latencies.max()));
    }
    page.push_str("</table>\n");
    percentiles(page, outcome);
    over_time(page, outcome);
}

/// Latency by percentile, both axes logarithmic, so that the tail is seen.
fn percentiles(page: &mut String, outcome: &Outcome) {
    let steps: Vec<f64> = (0..=120).map(|step| 100.0 * (1.0 - 10f64.powf(-f64::from(step) / 30.0))).collect();
    let lines: Vec<Line> = outcome
        .latencies
        .iter()
        .map(|(kind, latencies)| Line {
            name: kind.name(),
            colour: colour(*kind),
            points: steps
                .iter()
                .enumerate()
                .map(|(at, percent)| (at as f64 / 120.0, ms(latencies.percentile(*percent)).max(0.01).log10()))
                .collect(),
        })
        .collect();
    let (low, high) = range(&lines);
    let (low, high) = (low.floor(), high.ceil().max(low.floor() + 1.0));
    let marks =
        (low as i32..=high as i32).map(|power| (f64::from(power), format!("{} ms", 10f64.powi(power)))).collect();
    let below = [(0.0, "p0"), (0.25, "p90"), (0.5, "p99"), (0.75, "p99.9"), (1.0, "p99.99")];
    plot(page, "Latency by percentile, from when each request was due", &lines, (low, high), marks, &below);
}

/// Answers a second, and the longest wait, over the phase.
fn over_time(page: &mut String, outcome: &Outcome) {
    let last = outcome.stretches.len().saturating_sub(1).max(1) as f64;
    let seconds = format!("{:.0} s", outcome.stretches.len() as f64 * outcome.stretch_s);
    let below = [(0.0, "0 s"), (1.0, seconds.as_str())];
    let line = |name, colour, of: &dyn Fn(&crate::outcome::Stretch) -> f64| Line {
        name,
        colour,
        points: outcome.stretches.iter().enumerate().map(|(at, stretch)| (at as f64 / last, of(stretch))).collect(),
    };
    let each = |count: u64| count as f64 / outcome.stretch_s;
    let rates = [
        line("requests", COLOURS[0], &|s| each(s.requests)),
        line("records", COLOURS[2], &|s| each(s.records)),
        line("errors", COLOURS[5], &|s| each(s.errors)),
    ];
    linear(page, "Answered in a second", &rates, "", &below);
    let waits = [
        line("longest", COLOURS[5], &|s| s.longest_s * 1e3),
        line("mean", COLOURS[0], &|s| if s.requests > 0 { s.waited_s * 1e3 / s.requests as f64 } else { 0.0 }),
    ];
    linear(page, "Waited", &waits, " ms", &below);
}

struct Line {
    name: &'static str,
    colour: &'static str,
    /// From 0 to 1 across, and the value.
    points: Vec<(f64, f64)>,
}

fn colour(kind: Kind) -> &'static str {
    COLOURS[Kind::ALL.iter().position(|other| *other == kind).unwrap_or(0)]
}

fn range(lines: &[Line]) -> (f64, f64) {
    let values = lines.iter().flat_map(|line| &line.points).map(|(_, value)| *value);
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
    if low.is_finite() { (low, high) } else { (0.0, 1.0) }
}

fn linear(page: &mut String, title: &str, lines: &[Line], unit: &str, below: &[(f64, &str)]) {
    let high = range(lines).1.max(1e-9);
    let marks = (0..=4).map(|quarter| high * f64::from(quarter) / 4.0).map(|v| (v, format!("{v:.0}{unit}"))).collect();
    plot(page, title, lines, (0.0, high), marks, below);
}

fn plot(
    page: &mut String,
    title: &str,
    lines: &[Line],
    (low, high): (f64, f64),
    marks: Vec<(f64, String)>,
    below: &[(f64, &str)],
) {
    let across = |x: f64| LEFT + x * (WIDTH - LEFT - 10.0);
    let up = |value: f64| HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - 10.0);
    let title = escape(title);
    let _ = write!(
        page,
        "<figure><figcaption>{title}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\" \
         font-size=\"11\" fill=\"currentColor\">"
    );
    for (value, text) in marks {
        let y = up(value);
        let _ = write!(
            page,
            "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"currentColor\" opacity=\".15\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>",
            LEFT - 6.0,
            y + 4.0
        );
    }
    for (x, text) in below {
        let _ = write!(
            page,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
            across(*x).min(WIDTH - 24.0),
            HEIGHT - 8.0
        );
    }
    for (number, line) in lines.iter().enumerate() {
        let points: Vec<String> =
            line.points.iter().map(|(x, value)| format!("{:.1},{:.1}", across(*x), up(*value))).collect();
        let _ = write!(
            page,
            "<polyline fill=\"none\" stroke=\"{}\" stroke-width=\"1.6\" points=\"{}\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" fill=\"{}\">{}</text>",
            line.colour,
            points.join(" "),
            LEFT + 8.0 + 90.0 * number as f64,
            12.0,
            line.colour,
            line.name
        );
    }
    page.push_str("</svg></figure>\n");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_page_needs_nothing_from_anywhere_and_says_what_was_missed() {
        let mut outcome = Outcome { name: "<burst>".to_owned(), seconds: 1.0, stretch_s: 0.5, ..Outcome::default() };
        for number in 0..100 {
            let waited = Duration::from_millis(number);
            outcome.answered(Kind::Witnessed, 1, true, waited, Duration::from_millis(10 * number));
        }
        outcome.saturated.push("it was late".to_owned());
        let objective = Objective {
            text: "p99(witnessed)<2ms".to_owned(),
            phase: outcome.name.clone(),
            met: false,
            found: Some(0.099),
        };
        let page = page("run", "about", &Json::Null, &[outcome], &[objective]);
        for outside in ["http:", "https:", "src=", "url(", "@import", "<script", "<link"] {
            assert!(!page.contains(outside), "{outside}");
        }
        for inside in
            ["&lt;burst&gt;", "p99(witnessed)&lt;2ms", "not met", "saturated: it was late", "<svg", "<polyline"]
        {
            assert!(page.contains(inside), "{inside}");
        }
        assert!(!page.contains("NaN") && !page.contains("inf"), "a plot has a point that is no number");
    }

    #[test]
    fn a_phase_without_answers_has_a_page() {
        let page = page("run", "", &Json::Null, &[Outcome { stretch_s: 1.0, ..Outcome::default() }], &[]);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }
}
