//! The last hour of each service, as `stats --history` shows it.

use ppm_protocol::types::{Course, Growth, HistoryRow};

use super::spark::spark;
use super::table::{Column, Row, render};
use super::{FAIR, Look, PLAIN, units};

/// How many minutes a bar stands for.
const MINUTES_A_BAR: usize = 3;

/// How many bars an hour has.
const BARS: usize = 60 / MINUTES_A_BAR;

const COLUMNS: [Column; 10] = [
    Column::text("NAME"),
    Column::number("CPU MIN").goes(1),
    Column::number("CPU AVG").goes(7),
    Column::number("CPU MAX"),
    Column::number("CPU").goes(4),
    Column::number("MEM MIN").goes(3),
    Column::number("MEM AVG").goes(2),
    Column::number("MEM MAX"),
    Column::number("MEMORY").goes(5),
    Column::text("GROWTH").goes(6),
];

/// Said where nothing is known of anybody.
pub const NOTHING: &str = "nothing has been read in the last hour, and nothing is read for the sake of history\n\
     hint: readings are kept while somebody asks for them: 'ppm stats -f', 'ppm top', '/metrics', or a service with `max_memory`";

/// The least, the average and the most, and how it went: processor and memory, one service a line.
pub fn table(services: &[HistoryRow], look: &Look) -> String {
    let percent = |value: Option<f64>| value.map_or(String::new(), |percent| format!("{percent:.1}%"));
    let size = |bytes: Option<u64>| bytes.map_or(String::new(), units::size);
    let rows = services.iter().map(|service| {
        let (cpu, memory) = (service.cpu_percent.as_ref(), service.memory_rss.as_ref());
        Row::default()
            .cell(&service.name)
            .cell(percent(cpu.map(|cpu| cpu.min)))
            .cell(percent(cpu.map(|cpu| cpu.avg)))
            .cell(percent(cpu.map(|cpu| cpu.max)))
            .cell(cpu.map_or(String::new(), processor))
            .cell(size(memory.map(|memory| memory.min)))
            .cell(size(memory.map(|memory| memory.avg)))
            .cell(size(memory.map(|memory| memory.max)))
            .cell(memory.map_or(String::new(), memory_line))
            .styled(service.growth.map_or(String::new(), growth), if service.growth.is_some() { FAIR } else { PLAIN })
    });
    render(&COLUMNS, rows.collect(), look)
}

/// Whether there is anything to see.
pub fn is_empty(services: &[HistoryRow]) -> bool {
    services.iter().all(|service| service.memory_rss.is_none())
}

/// `+3.10 MiB/h for 50m`
fn growth(growth: Growth) -> String {
    format!("+{}/h for {}", units::size(growth.bytes_per_hour), units::duration(growth.over_ms))
}

/// From nothing to the most that there was.
fn processor(cpu: &Course<f64>) -> String {
    let most = bars(&cpu.minutes).flatten().fold(1.0, f64::max);
    spark(bars(&cpu.minutes).map(|value| Some(value? / most)), BARS)
}

/// Between the least and the most that there was, so that growth can be seen; flat where that is less than a tenth.
fn memory_line(memory: &Course<u64>) -> String {
    #[expect(clippy::cast_precision_loss, reason = "an eighth is shown")]
    let minutes: Vec<Option<f64>> = memory.minutes.iter().map(|bytes| bytes.map(|bytes| bytes as f64)).collect();
    let (least, most) = bars(&minutes).flatten().fold((f64::MAX, 0.0), |range: (f64, f64), value| (range.0.min(value), range.1.max(value)));
    let range = (most - least).max(most / 10.0).max(1.0);
    spark(bars(&minutes).map(|value| Some((value? - least) / range)), BARS)
}

/// The most of every few minutes, so that the last of them are whole.
fn bars(minutes: &[Option<f64>]) -> impl DoubleEndedIterator<Item = Option<f64>> {
    minutes.rchunks(MINUTES_A_BAR).rev().map(|chunk| chunk.iter().flatten().copied().reduce(f64::max))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{piped, terminal};
    use super::*;

    const MIB: u64 = 1 << 20;

    fn several() -> Vec<HistoryRow> {
        let minutes = |cpu: &dyn Fn(u32) -> f64| (0..60).map(|minute| Some(cpu(minute))).collect();
        let memory = |memory: &dyn Fn(u64) -> u64| (0..60).map(|minute| Some(memory(minute))).collect();
        let web = HistoryRow {
            id: Some(2),
            name: "web".to_owned(),
            from: "2026-11-23T11:00:00.000Z".parse().ok(),
            cpu_percent: Some(Course { min: 0.0, avg: 12.44, max: 99.9, minutes: minutes(&|minute| f64::from(minute % 30) * 3.0) }),
            memory_rss: Some(Course { min: 100 * MIB, avg: 130 * MIB, max: 160 * MIB, minutes: memory(&|minute| (100 + minute) * MIB) }),
            growth: Some(Growth { bytes_per_hour: 62_600_000, over_ms: 3_480_000 }),
        };
        let late = vec![Some(MIB), None, None, None, None, None, None, Some(MIB)];
        let db = HistoryRow {
            id: Some(3),
            name: "db".to_owned(),
            memory_rss: Some(Course { min: MIB, avg: MIB, max: MIB, minutes: late }),
            ..HistoryRow::default()
        };
        vec![web, db, HistoryRow { name: "<ppm>".to_owned(), ..HistoryRow::default() }]
    }

    #[test]
    fn piped_all_is_there() {
        let expected = "
NAME   CPU MIN  CPU AVG  CPU MAX                   CPU   MEM MIN   MEM AVG   MEM MAX                MEMORY  GROWTH
web       0.0%    12.4%    99.9%  ▁▂▃▄▄▅▆▇▇█▁▂▃▄▄▅▆▇▇█   100 MiB   130 MiB   160 MiB  ▁▁▂▂▂▃▃▄▄▄▅▅▅▆▆▇▇▇██  +59.7 MiB/h for 58m
db           -        -        -                     -  1.00 MiB  1.00 MiB  1.00 MiB                   ▁ ▁  -
<ppm>        -        -        -                     -         -         -         -                     -  -
";
        assert_eq!(format!("\n{}", table(&several(), &piped())), expected);
    }

    #[test]
    fn on_80_columns_how_it_grows_and_went_is_kept() {
        let expected = "
NAME   CPU AVG  CPU MAX   MEM MAX                MEMORY  GROWTH
web      12.4%    99.9%   160 MiB  ▁▁▂▂▂▃▃▄▄▄▅▅▅▆▆▇▇▇██  +59.7 MiB/h for 58m
db           -        -  1.00 MiB                   ▁ ▁  -
<ppm>        -        -         -                     -  -
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(80))), expected);
    }

    #[test]
    fn on_44_columns_the_most_is_left() {
        let expected = "
NAME   CPU AVG  CPU MAX   MEM MAX
web      12.4%    99.9%   160 MiB
db           -        -  1.00 MiB
<ppm>        -        -         -
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(44))), expected);
    }

    #[test]
    fn it_is_empty_if_nobody_was_read() {
        assert!(!is_empty(&several()));
        assert!(is_empty(&several()[2..]));
    }
}
