//! Draws results/*.json: by case a bar for each server, the ratio to the floor with its spread; for memory, KiB.
//!
//! `chart RESULTS.json CHART.svg`

use std::error::Error;

use plotters::prelude::*;
use serde_json::Value;

const WIDTH: u32 = 1000;
const ROW: u32 = 18;
const TITLE: u32 = 30;
/// Longer bars are cut off here; their number tells.
const LONGEST_RATIO: f64 = 4.0;
const LONGEST_KIB: f64 = 20.0;
const AIM_KIB: f64 = 1.25;

const FLOOR: RGBColor = RGBColor(150, 150, 150);
const SOCKEYE: RGBColor = RGBColor(200, 60, 40);
const PEER: RGBColor = RGBColor(90, 130, 180);

/// A server's name, and the median, lowest and highest figure.
type Bar<'a> = (&'a str, [f64; 3]);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(results), Some(chart)) = (args.next(), args.next()) else {
        return Err("chart RESULTS.json CHART.svg".into());
    };
    let document: Value = serde_json::from_str(&std::fs::read_to_string(results)?)?;
    let names: Vec<&str> =
        document["servers"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let cases = document["cases"].as_object().ok_or("no cases")?;
    let height = TITLE + ROW * u32::try_from(names.len())? + ROW;
    let root = SVGBackend::new(&chart, (WIDTH, height * u32::try_from(cases.len())?)).into_drawing_area();
    root.fill(&WHITE)?;
    for (area, (case, found)) in root.split_evenly((cases.len(), 1)).iter().zip(cases) {
        let figure = found["figure"].as_str().unwrap_or_default();
        let (of, scale, longest, mark, title) = if case == "idle" {
            (figure, 1024.0, LONGEST_KIB, AIM_KIB, "idle: KiB by connection".to_owned())
        } else {
            ("ratio_to_floor", 1.0, LONGEST_RATIO, 1.0, format!("{case}: {figure}, ratio to the floor"))
        };
        let spread = |server: &Value| {
            ["median", "min", "max"].map(|key| server[of][key].as_f64().unwrap_or_default() / scale)
        };
        let servers = &found["servers"];
        let takes_part = |name: &&&str| !servers[**name].is_null();
        let bars: Vec<Bar> =
            names.iter().filter(takes_part).map(|name| (*name, spread(&servers[name]))).collect();
        draw(area, &title, &bars, longest, mark)?;
    }
    root.present()?;
    Ok(())
}

fn draw(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    title: &str,
    bars: &[Bar],
    longest: f64,
    mark: f64,
) -> Result<(), Box<dyn Error>> {
    let rows = bars.len() as f64;
    let mut chart = ChartBuilder::on(area)
        .caption(title, ("sans-serif", 17))
        .margin_left(130)
        .margin_right(60)
        .margin_bottom(10)
        .build_cartesian_2d(0.0..longest, rows..0.0)?;
    let font = ("sans-serif", 15).into_font();
    for (&(name, [median, low, high]), row) in bars.iter().zip(0u8..) {
        let colour = match name {
            "floor" => FLOOR,
            name if name.starts_with("sockeye") => SOCKEYE,
            _ => PEER,
        };
        let (top, bottom) = (f64::from(row) + 0.15, f64::from(row) + 0.85);
        let middle = f64::midpoint(top, bottom);
        let bar = [(0.0, top), (median.min(longest), bottom)];
        chart.draw_series([Rectangle::new(bar, colour.filled())])?;
        let spread = [(low.min(longest), middle), (high.min(longest), middle)];
        chart.draw_series([PathElement::new(spread, BLACK)])?;
        let at = high.max(median).min(longest);
        let label = EmptyElement::at((at, middle)) + Text::new(format!("{median:.2}"), (6, -6), font.clone());
        chart.draw_series([label])?;
        let label = EmptyElement::at((0.0, middle)) + Text::new(name.to_owned(), (-120, -6), font.clone());
        chart.draw_series([label])?;
    }
    let line = [(mark, 0.0), (mark, rows)];
    chart.draw_series([PathElement::new(line, FLOOR.mix(0.8))])?;
    Ok(())
}
