//! The table of `stats`.

use ppm_protocol::StatsRow;

use super::table::{Column, Row, render};
use super::{Look, units};

const COLUMNS: [Column; 13] = [
    Column::number("ID").goes(6),
    Column::text("NAME"),
    Column::number("CPU"),
    Column::number("CPU TIME").goes(9),
    Column::number("MEM"),
    Column::number("PSS").goes(7),
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
            ..idle(Some(2), "web")
        };
        let own = StatsRow { cpu_percent: Some(0.04), cpu_time_ms: Some(1200), memory_rss: Some(1 << 20), ..idle(None, "<ppm>") };
        vec![web, idle(Some(3), "worker"), own]
    }

    #[test]
    fn piped_all_columns_are_there_and_what_is_unknown_is_a_dash() {
        let expected = "
ID  NAME      CPU  CPU TIME       MEM      PSS  READ/s   WRITE/s      READ  WRITTEN  PROCS  THREADS  FDS
 2  web     12.4%    2h 14m   182 MiB  143 MiB       0  4.00 KiB  1.21 GiB  310 MiB      4        9  112
 3  worker      -         -         -        -       -         -         -        -      -        -    -
 -  <ppm>    0.0%      1.2s  1.00 MiB        -       -         -         -        -      -        -    -
";
        assert_eq!(format!("\n{}", table(&several(), &piped())), expected);
    }

    #[test]
    fn on_80_columns_counts_and_totals_are_gone() {
        let expected = "
ID  NAME      CPU  CPU TIME       MEM      PSS  READ/s   WRITE/s  WRITTEN
 2  web     12.4%    2h 14m   182 MiB  143 MiB       0  4.00 KiB  310 MiB
 3  worker      -         -         -        -       -         -        -
 -  <ppm>    0.0%      1.2s  1.00 MiB        -       -         -        -
";
        assert_eq!(format!("\n{}", table(&several(), &terminal(80))), expected);
    }

    #[test]
    fn on_60_columns_what_was_written_is_gone_too() {
        let expected = "
NAME      CPU  CPU TIME       MEM      PSS  READ/s   WRITE/s
web     12.4%    2h 14m   182 MiB  143 MiB       0  4.00 KiB
worker      -         -         -        -       -         -
<ppm>    0.0%      1.2s  1.00 MiB        -       -         -
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
}
