//! The table of `stats`, and the container in one line.

use std::cmp::Ordering;

use ppm_protocol::StatsRow;
use ppm_protocol::types::ContainerRow;

use super::table::{Column, Row, render};
use super::text::width;
use super::{Look, units};
use crate::cli::Most;

const COLUMNS: [Column; 14] = [
    Column::number("ID").goes(6),
    Column::text("NAME"),
    Column::number("CPU"),
    Column::number("CPU TIME").goes(9),
    Column::number("MEM"),
    Column::number("PSS").goes(7),
    Column::number("LIMIT").goes(8),
    Column::number("READ/s").goes(10),
    Column::number("WRITE/s").goes(11),
    Column::number("READ").goes(4),
    Column::number("WRITTEN").goes(5),
    Column::number("PROCS").goes(3),
    Column::number("THREADS").goes(1),
    Column::number("FDS").goes(2),
];

/// What each service uses, and the daemon itself, one a line.
pub fn table(services: &[StatsRow], look: &Look) -> String {
    let size = |bytes: Option<u64>| bytes.map_or(String::new(), units::size);
    let count = |number: Option<u32>| number.map_or(String::new(), |number| number.to_string());
    let rows = services.iter().map(|service| {
        Row::default()
            .cell(count(service.id))
            .cell(&service.name)
            .cell(service.cpu_percent.map_or(String::new(), |percent| format!("{percent:.1}%")))
            .cell(service.cpu_time_ms.map_or(String::new(), units::duration))
            .cell(size(service.memory_rss))
            .cell(size(service.memory_pss))
            .cell(limit(service).map_or(String::new(), |percent| format!("{percent}%")))
            .cell(size(service.io_read_rate))
            .cell(size(service.io_write_rate))
            .cell(size(service.io_read))
            .cell(size(service.io_write))
            .cell(count(service.processes))
            .cell(count(service.threads))
            .cell(count(service.fds))
    });
    render(&COLUMNS, rows.collect(), look)
}

/// The table, and below it the container as a whole where that was told.
pub fn page(services: &[StatsRow], look: &Look) -> String {
    let mut page = table(services, look);
    if let Some(container) = services.iter().find_map(|service| service.container.as_ref()) {
        let line = container_line(container, look.width());
        if !line.is_empty() {
            page.push_str(&format!("\n{line}\n"));
        }
    }
    page
}

/// In which order rows are shown: those that use most first, those of which nothing is known next, and the daemon last.
pub fn order(services: &[StatsRow], by: Option<Most>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..services.len()).collect();
    if let Some(by) = by {
        order.sort_by(|one, other| more_first(&services[*one], &services[*other], by));
    }
    order
}

fn more_first(one: &StatsRow, other: &StatsRow, by: Most) -> Ordering {
    #[expect(clippy::cast_precision_loss, reason = "which is more is seen by the first digits")]
    let used = |row: &StatsRow| match by {
        Most::Cpu => row.cpu_percent,
        Most::Memory => row.memory_rss.map(|bytes| bytes as f64),
        Most::Io => row.io_read_rate.zip(row.io_write_rate).map(|(read, write)| read.saturating_add(write) as f64),
    };
    let used = |row: &StatsRow| used(row).unwrap_or(-1.0);
    one.id.is_none().cmp(&other.id.is_none()).then(used(other).total_cmp(&used(one)))
}

/// How much of its `max_memory` a service uses, in percent: by the figure that counts, if that was read.
pub fn limit(service: &StatsRow) -> Option<u64> {
    let used = service.memory_pss.or(service.memory_rss)?;
    let max = service.memory_limit.filter(|max| *max > 0)?;
    u64::try_from(u128::from(used) * 100 / u128::from(max)).ok()
}

/// `container  0.14 of 2.00 cores    231 MiB of 512 MiB (45%)    11 tasks`; what is not known, or does not fit, is left out.
pub fn container_line(container: &ContainerRow, limit: Option<usize>) -> String {
    let cores = container.cpu_percent.map(|percent| {
        let used = percent / 100.0;
        container.cores.map_or(format!("{used:.2} cores"), |cores| format!("{used:.2} of {cores:.2} cores"))
    });
    let memory = container.memory.map(|used| units::size_of(used, container.memory_limit));
    let tasks = container.tasks.map(|tasks| match container.tasks_limit {
        Some(limit) => format!("{tasks} of {limit} tasks"),
        None => format!("{tasks} tasks"),
    });
    let waits = [("cpu", container.pressure_cpu), ("memory", container.pressure_memory), ("io", container.pressure_io)];
    let waits: Vec<String> = waits.iter().filter_map(|(what, percent)| Some(format!("{what} {:.1}%", (*percent)?))).collect();
    let pressure = (!waits.is_empty()).then(|| format!("pressure {}", waits.join(", ")));
    let parts: Vec<String> = [cores, memory, tasks, pressure].into_iter().flatten().collect();
    let with = |count: usize| format!("container  {}", parts[..count].join("    "));
    let fits = |count: &usize| limit.is_none_or(|limit| width(&with(*count)) <= limit);
    (1..=parts.len()).rev().find(fits).map_or(String::new(), with)
}

/// The text in place of what stood on a terminal of so many lines, of which the first are shown if it is longer.
pub fn screen(text: &str, lines: Option<usize>) -> String {
    let room = lines.unwrap_or(usize::MAX).saturating_sub(1);
    let (all, kept) = (text.lines().count(), text.lines().take(room));
    let mut screen = "\x1b[H".to_owned();
    for line in kept {
        screen.push_str(&format!("{line}\x1b[K\n"));
    }
    if all > room {
        screen.push_str(&format!("and {} lines more", all - room));
    }
    screen + "\x1b[J"
}

#[cfg(test)]
mod tests {
    use super::super::tests::{piped, terminal};
    use super::*;

    fn idle(id: Option<u32>, name: &str) -> StatsRow {
        StatsRow { id, name: name.to_owned(), ..StatsRow::default() }
    }

    fn several() -> Vec<StatsRow> {
        let web = StatsRow {
            pid: Some(31),
            cpu_percent: Some(12.44),
            cpu_time_ms: Some(8_040_000),
            memory_rss: Some(190_840_832),
            memory_pss: Some(150_000_000),
            memory_vsz: Some(1 << 31),
            io_read: Some(1_299_227_607),
            io_write: Some(325_058_560),
            io_read_rate: Some(0),
            io_write_rate: Some(4096),
            processes: Some(4),
            threads: Some(9),
            fds: Some(112),
            uptime_ms: Some(1000),
            memory_limit: Some(268_435_456),
            ..idle(Some(2), "web")
        };
        let own = StatsRow { cpu_percent: Some(0.04), cpu_time_ms: Some(1200), memory_rss: Some(1 << 20), ..idle(None, "<ppm>") };
        vec![web, idle(Some(3), "worker"), own]
    }

    #[test]
    fn piped_all_columns_are_there_and_what_is_unknown_is_a_dash() {
        let expected = "
ID  NAME      CPU  CPU TIME       MEM      PSS  LIMIT  READ/s   WRITE/s      READ  WRITTEN  PROCS  THREADS  FDS
 2  web     12.4%    2h 14m   182 MiB  143 MiB    55%       0  4.00 KiB  1.21 GiB  310 MiB      4        9  112
 3  worker      -         -         -        -      -       -         -         -        -      -        -    -
 -  <ppm>    0.0%      1.2s  1.00 MiB        -      -       -         -         -        -      -        -    -
";
        assert_eq!(format!("\n{}", table(&several(), &piped())), expected);
    }

    #[test]
    fn on_80_columns_counts_and_totals_are_gone() {
        let expected = "
ID  NAME      CPU  CPU TIME       MEM      PSS  LIMIT  READ/s   WRITE/s  WRITTEN
 2  web     12.4%    2h 14m   182 MiB  143 MiB    55%       0  4.00 KiB  310 MiB
 3  worker      -         -         -        -      -       -         -        -
 -  <ppm>    0.0%      1.2s  1.00 MiB        -      -       -         -        -
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(80))), expected);
    }

    #[test]
    fn on_60_columns_the_proportional_memory_is_gone_too() {
        let expected = "
NAME      CPU  CPU TIME       MEM  LIMIT  READ/s   WRITE/s
web     12.4%    2h 14m   182 MiB    55%       0  4.00 KiB
worker      -         -         -      -       -         -
<ppm>    0.0%      1.2s  1.00 MiB      -       -         -
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(60))), expected);
    }

    #[test]
    fn on_44_columns_processor_memory_and_writing_are_left() {
        let expected = "
NAME      CPU       MEM  READ/s   WRITE/s
web     12.4%   182 MiB       0  4.00 KiB
worker      -         -       -         -
<ppm>    0.0%  1.00 MiB       -         -
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(44))), expected);
    }

    fn container() -> ContainerRow {
        ContainerRow {
            cpu_percent: Some(14.0),
            cores: Some(2.0),
            memory: Some(231 << 20),
            memory_limit: Some(512 << 20),
            tasks: Some(11),
            tasks_limit: None,
            pressure_cpu: Some(1.53),
            pressure_memory: Some(0.0),
            pressure_io: None,
        }
    }

    #[test]
    fn the_last_line_is_the_container_as_far_as_it_is_known_and_fits() {
        let line = |limit| container_line(&container(), limit);
        let whole = "container  0.14 of 2.00 cores    231 MiB of 512 MiB (45%)    11 tasks    pressure cpu 1.5%, memory 0.0%";
        assert_eq!(line(None), whole);
        assert_eq!(line(Some(80)), "container  0.14 of 2.00 cores    231 MiB of 512 MiB (45%)    11 tasks");
        assert_eq!(line(Some(40)), "container  0.14 of 2.00 cores");
        assert_eq!(line(Some(10)), "");
        let bounded = ContainerRow { tasks_limit: Some(100), memory_limit: None, cores: None, pressure_cpu: None, ..container() };
        let unbounded = ContainerRow { pressure_memory: None, ..bounded };
        assert_eq!(container_line(&unbounded, None), "container  0.14 cores    231 MiB    11 of 100 tasks");
        assert_eq!(container_line(&ContainerRow::default(), None), "");
    }

    #[test]
    fn a_page_ends_with_the_container() {
        let mut rows = several();
        assert_eq!(page(&rows, &piped()), table(&rows, &piped()));
        rows[2].container = Some(container());
        assert!(
            page(&rows, &piped())
                .ends_with("\n\ncontainer  0.14 of 2.00 cores    231 MiB of 512 MiB (45%)    11 tasks    pressure cpu 1.5%, memory 0.0%\n")
        );
    }

    #[test]
    fn those_that_use_most_come_first_and_the_daemon_last() {
        let row = |id: u32, cpu: Option<f64>, rss: u64, io: u64| StatsRow {
            cpu_percent: cpu,
            memory_rss: Some(rss),
            io_read_rate: Some(io),
            io_write_rate: Some(1),
            ..idle(Some(id), "x")
        };
        let own = StatsRow { cpu_percent: Some(100.0), memory_rss: Some(1000), ..idle(None, "<ppm>") };
        let rows = [own, row(1, Some(1.0), 30, 5), row(2, None, 10, 9), row(3, Some(2.0), 20, 7), idle(Some(4), "idle")];
        assert_eq!(order(&rows, None), [0, 1, 2, 3, 4]);
        assert_eq!(order(&rows, Some(Most::Cpu)), [3, 1, 2, 4, 0]);
        assert_eq!(order(&rows, Some(Most::Memory)), [1, 3, 2, 4, 0]);
        assert_eq!(order(&rows, Some(Most::Io)), [2, 3, 1, 4, 0]);
    }

    #[test]
    fn a_screen_takes_the_place_of_the_one_before_and_is_never_longer_than_the_terminal() {
        assert_eq!(screen("a\nb\n", Some(24)), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
        assert_eq!(screen("a\nb\nc\n", Some(3)), "\x1b[Ha\x1b[K\nb\x1b[K\nand 1 lines more\x1b[J");
    }
}
