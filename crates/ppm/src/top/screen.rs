//! What is on the screen, and what keys do to it. Pure: knows no terminal, no clock and no daemon.
//!
//! Invariant: what is selected is shown, as long as anything is.

use std::collections::{BTreeMap, VecDeque};

use ppm_protocol::message::Targets;
use ppm_protocol::{Request, ServiceRow, StatsRow};
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::feed::{Beside, Job, Seen, Text};
use crate::cli::Most;
use crate::show::stats::order;

/// How many figures of each service are remembered: a spark line is no wider.
pub const REMEMBERED: usize = 60;

/// What its user wants.
#[derive(Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for a pressed key")]
pub enum Wish {
    /// Enough.
    Quit,
    /// The same, by Ctrl-C.
    Interrupt,
    /// Something of the daemon.
    Ask(Job),
}

/// What is beside or above the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pane {
    /// Nothing.
    None,
    /// The log of the selected service, in the lower part.
    Log,
    /// The same, on the whole screen.
    WholeLog,
    /// All that is known of the selected service, on the whole screen.
    Info,
    /// What keys do.
    Help,
}

/// What services have used lately, the latest last.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    /// Percent of a core.
    pub cpu: VecDeque<f64>,
    /// Resident bytes.
    pub memory: VecDeque<u64>,
}

/// All that is shown.
#[derive(Debug)]
pub struct Screen {
    /// Whether there is colour.
    pub colour: bool,
    /// None: the daemon has not told yet.
    pub seen: Option<Seen>,
    /// By the service's number.
    pub traces: BTreeMap<u32, Trace>,
    /// By its number.
    pub selected: Option<u32>,
    /// In which order.
    pub sort: Option<Most>,
    /// Only services whose names contain this.
    pub filter: String,
    /// Whether the filter is being typed.
    pub is_typing: bool,
    /// What is beside the table.
    pub pane: Pane,
    /// What was read for it.
    pub text: Option<Text>,
    /// How many lines it was scrolled: back from its end in a log, on from its beginning otherwise.
    pub scrolled: usize,
    /// What came of the last request.
    pub said: Vec<String>,
    /// How many services fit: how far a page goes.
    pub page: usize,
}

impl Screen {
    /// Nothing is known yet.
    pub fn new(colour: bool) -> Screen {
        Screen {
            colour,
            seen: None,
            traces: BTreeMap::new(),
            selected: None,
            sort: None,
            filter: String::new(),
            is_typing: false,
            pane: Pane::None,
            text: None,
            scrolled: 0,
            said: Vec::new(),
            page: 10,
        }
    }

    /// How it stands.
    pub fn seen(&mut self, seen: Seen) {
        self.traces.retain(|id, _| seen.services.iter().any(|service| service.id == *id));
        for row in &seen.stats {
            let Some(id) = row.id else { continue };
            let trace = self.traces.entry(id).or_default();
            match (row.cpu_percent, row.memory_rss) {
                (Some(cpu), Some(memory)) => {
                    push(&mut trace.cpu, cpu);
                    push(&mut trace.memory, memory);
                }
                _ => *trace = Trace::default(), // what comes is another run
            }
        }
        self.seen = Some(seen);
        self.keep_selection();
    }

    /// What is beside the table was read; it may be what is not wanted any more.
    pub fn pane_read(&mut self, text: Text) {
        let fits = match (&text, self.pane) {
            (Text::Log(name, _), Pane::Log | Pane::WholeLog) => self.is_selected(name),
            (Text::Info(row), Pane::Info) => self.is_selected(&row.row.name),
            (Text::Nothing(name, _), Pane::Log | Pane::WholeLog | Pane::Info) => self.is_selected(name),
            _ => false,
        };
        if fits {
            self.text = Some(text);
        }
    }

    /// What was asked for was done, or not.
    pub fn done(&mut self, said: Vec<String>) {
        self.said = said;
    }

    /// The services that are shown, in their order, each with what it uses.
    pub fn rows(&self) -> Vec<(&ServiceRow, Option<&StatsRow>)> {
        let Some(seen) = &self.seen else { return Vec::new() };
        let stats: BTreeMap<u32, &StatsRow> = seen.stats.iter().filter_map(|row| Some((row.id?, row))).collect();
        let wanted = seen.services.iter().filter(|service| service.name.contains(&self.filter));
        let rows: Vec<_> = wanted.map(|service| (service, stats.get(&service.id).copied())).collect();
        let figures: Vec<StatsRow> = rows
            .iter()
            .map(|(service, stats)| stats.cloned().unwrap_or_else(|| StatsRow { id: Some(service.id), ..StatsRow::default() }))
            .collect();
        order(&figures, self.sort).into_iter().map(|at| rows[at]).collect()
    }

    /// The row that is selected.
    pub fn selected_row(&self) -> Option<&ServiceRow> {
        let selected = self.selected?;
        self.seen.as_ref()?.services.iter().find(|service| service.id == selected)
    }

    /// Something happened at the terminal.
    pub fn typed(&mut self, event: &Event) -> Option<Wish> {
        match event {
            Event::Key(key) if key.kind != KeyEventKind::Release => self.key(*key),
            Event::Paste(text) if self.is_typing => {
                self.filter.extend(text.chars().filter(|letter| !letter.is_control()));
                self.keep_selection();
                None
            }
            _ => None,
        }
    }

    fn key(&mut self, key: KeyEvent) -> Option<Wish> {
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return (key.code == KeyCode::Char('c')).then_some(Wish::Interrupt);
        }
        if self.is_typing {
            return self.type_filter(key.code);
        }
        self.said.clear();
        match key.code {
            KeyCode::Char('q') => Some(Wish::Quit),
            KeyCode::Esc => self.leave(),
            KeyCode::Up | KeyCode::Char('k') => self.go(-1),
            KeyCode::Down | KeyCode::Char('j') => self.go(1),
            KeyCode::PageUp => self.go(-self.a_page()),
            KeyCode::PageDown => self.go(self.a_page()),
            KeyCode::Home | KeyCode::Char('g') => self.go(isize::MIN / 2),
            KeyCode::End | KeyCode::Char('G') => self.go(isize::MAX / 2),
            KeyCode::Char('r') => self.act(Request::Restart),
            KeyCode::Char('s') => self.act(Request::Stop),
            KeyCode::Char('S') => self.act(Request::Start),
            KeyCode::Char('l') | KeyCode::Enter => self.turn_to(match self.pane {
                Pane::Log => Pane::WholeLog,
                Pane::WholeLog => Pane::None,
                Pane::None | Pane::Info | Pane::Help => Pane::Log,
            }),
            KeyCode::Char('i') => self.turn_to(if self.pane == Pane::Info { Pane::None } else { Pane::Info }),
            KeyCode::Char('?' | 'h') => self.turn_to(if self.pane == Pane::Help { Pane::None } else { Pane::Help }),
            KeyCode::Char('/') => {
                self.is_typing = true;
                None
            }
            KeyCode::Char('o') => {
                self.sort = match self.sort {
                    None => Some(Most::Cpu),
                    Some(Most::Cpu) => Some(Most::Memory),
                    Some(Most::Memory) => Some(Most::Io),
                    Some(Most::Io) => None,
                };
                None
            }
            _ => None,
        }
    }

    fn type_filter(&mut self, code: KeyCode) -> Option<Wish> {
        match code {
            KeyCode::Enter => self.is_typing = false,
            KeyCode::Esc => {
                self.is_typing = false;
                self.filter.clear();
            }
            KeyCode::Backspace => drop(self.filter.pop()),
            KeyCode::Char(letter) => self.filter.push(letter),
            _ => {}
        }
        self.keep_selection()
    }

    /// Out of what is open, one after the other.
    fn leave(&mut self) -> Option<Wish> {
        if self.pane != Pane::None {
            return self.turn_to(Pane::None);
        }
        self.filter.clear();
        None
    }

    fn go(&mut self, by: isize) -> Option<Wish> {
        if matches!(self.pane, Pane::WholeLog | Pane::Info | Pane::Help) {
            let by = if self.pane == Pane::WholeLog { -by } else { by };
            self.scrolled = self.scrolled.saturating_add_signed(by).min(self.longest_scroll());
            return None;
        }
        let ids: Vec<u32> = self.rows().iter().map(|(service, _)| service.id).collect();
        let at = ids.iter().position(|id| Some(*id) == self.selected).unwrap_or(0);
        let to = at.saturating_add_signed(by).min(ids.len().saturating_sub(1));
        self.select(ids.get(to).copied())
    }

    /// As many lines as there are of what is shown.
    fn longest_scroll(&self) -> usize {
        match &self.text {
            Some(Text::Log(_, lines)) => lines.len(),
            Some(Text::Info(_)) => 200,
            Some(Text::Nothing(..)) | None => 0,
        }
    }

    fn a_page(&self) -> isize {
        isize::try_from(self.page.max(1)).unwrap_or(1)
    }

    fn act(&mut self, request: impl FnOnce(Targets) -> Request) -> Option<Wish> {
        let id = self.selected_row()?.id;
        Some(Wish::Ask(Job::Do(request(Targets { services: vec![id.to_string()], wait: false, rolling: false }))))
    }

    fn turn_to(&mut self, pane: Pane) -> Option<Wish> {
        self.pane = pane;
        self.scrolled = 0;
        self.read_beside()
    }

    fn select(&mut self, id: Option<u32>) -> Option<Wish> {
        if id == self.selected {
            return None;
        }
        self.selected = id;
        self.read_beside()
    }

    fn keep_selection(&mut self) -> Option<Wish> {
        let rows = self.rows();
        let is_there = rows.iter().any(|(service, _)| Some(service.id) == self.selected);
        let first = rows.first().map(|(service, _)| service.id);
        if is_there { None } else { self.select(first) }
    }

    fn read_beside(&mut self) -> Option<Wish> {
        let name = self.selected_row().map(|service| service.name.clone());
        let beside = match (self.pane, name) {
            (Pane::Log | Pane::WholeLog, Some(name)) => Beside::Log(name),
            (Pane::Info, Some(name)) => Beside::Info(name),
            (Pane::None | Pane::Help, _) | (_, None) => Beside::Nothing,
        };
        if !self.text.as_ref().is_some_and(|text| is_of(text, &beside)) {
            self.text = None;
        }
        Some(Wish::Ask(Job::Read(beside)))
    }

    fn is_selected(&self, name: &str) -> bool {
        self.selected_row().is_some_and(|service| service.name == name)
    }
}

fn is_of(text: &Text, beside: &Beside) -> bool {
    match (text, beside) {
        (Text::Log(of, _), Beside::Log(name)) => of == name,
        (Text::Info(row), Beside::Info(name)) => row.row.name == *name,
        _ => false,
    }
}

fn push<T>(trace: &mut VecDeque<T>, value: T) {
    if trace.len() == REMEMBERED {
        trace.pop_front();
    }
    trace.push_back(value);
}

#[cfg(test)]
pub mod tests {
    use ppm_protocol::Status;

    use super::*;

    pub fn service(id: u32, name: &str, status: Status, reason: &str) -> ServiceRow {
        let runs = status == Status::Running;
        ServiceRow {
            id,
            name: name.to_owned(),
            status,
            active: true,
            ready: runs,
            pid: runs.then_some(100),
            restarts: 0,
            crashes: 0,
            started_at: None,
            ended_at: None,
            uptime_ms: runs.then_some(273_600_000),
            exit: None,
            reason: reason.to_owned(),
            next_start: None,
            schedule: None,
            status_text: None,
        }
    }

    pub fn uses(id: u32, name: &str, cpu: f64, memory: u64) -> StatsRow {
        StatsRow { id: Some(id), name: name.to_owned(), cpu_percent: Some(cpu), memory_rss: Some(memory), ..StatsRow::default() }
    }

    pub fn several() -> Seen {
        Seen {
            services: vec![
                service(1, "db", Status::Running, "started with the daemon"),
                service(2, "web", Status::Running, "restarted after exit code 1"),
                service(3, "worker", Status::Crashed, "exit code 1, gave up after 3 retries"),
            ],
            stats: vec![uses(1, "db", 1.3, 48 << 20), uses(2, "web", 12.4, 182 << 20)],
        }
    }

    pub fn screen() -> Screen {
        let mut screen = Screen::new(false);
        screen.seen(several());
        screen
    }

    pub fn press(screen: &mut Screen, code: KeyCode) -> Option<Wish> {
        screen.typed(&Event::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn type_all(screen: &mut Screen, keys: &str) -> Option<Wish> {
        keys.chars().filter_map(|key| press(screen, KeyCode::Char(key))).last()
    }

    fn names(screen: &Screen) -> Vec<&str> {
        screen.rows().iter().map(|(service, _)| service.name.as_str()).collect()
    }

    #[test]
    fn the_first_is_selected_and_the_selection_stays_within_what_is_shown() {
        let mut screen = screen();
        assert_eq!(screen.selected, Some(1));
        press(&mut screen, KeyCode::Up);
        assert_eq!(screen.selected, Some(1));
        type_all(&mut screen, "jj");
        press(&mut screen, KeyCode::PageDown);
        assert_eq!(screen.selected, Some(3));
        press(&mut screen, KeyCode::Home);
        assert_eq!(screen.selected, Some(1));
        screen.seen(Seen { services: several().services.split_off(1), stats: Vec::new() });
        assert_eq!(screen.selected, Some(2), "who is gone is not selected");
        screen.seen(Seen::default());
        assert_eq!((screen.selected, press(&mut screen, KeyCode::Char('r'))), (None, None));
    }

    #[test]
    fn keys_ask_for_what_they_say_of_what_is_selected() {
        let mut screen = screen();
        press(&mut screen, KeyCode::Down);
        let targets = || Targets { services: vec!["2".to_owned()], wait: false, rolling: false };
        for (key, request) in [('r', Request::Restart(targets())), ('s', Request::Stop(targets())), ('S', Request::Start(targets()))] {
            assert_eq!(press(&mut screen, KeyCode::Char(key)), Some(Wish::Ask(Job::Do(request))), "{key}");
        }
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Some(Wish::Quit));
        let interrupt = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert_eq!(screen.typed(&Event::Key(interrupt)), Some(Wish::Interrupt));
    }

    #[test]
    fn a_filter_is_typed_kept_and_left() {
        let mut screen = screen();
        type_all(&mut screen, "/wq");
        assert_eq!((names(&screen), screen.is_typing), (vec![], true), "q is a letter here");
        press(&mut screen, KeyCode::Backspace);
        assert_eq!((names(&screen), screen.selected), (vec!["web", "worker"], Some(2)));
        press(&mut screen, KeyCode::Enter);
        assert_eq!(press(&mut screen, KeyCode::Char('q')), Some(Wish::Quit));
        press(&mut screen, KeyCode::Esc);
        assert_eq!(names(&screen), ["db", "web", "worker"]);
    }

    #[test]
    fn the_order_goes_round_and_those_without_figures_are_last() {
        let mut screen = screen();
        for expected in [["web", "db", "worker"], ["web", "db", "worker"], ["db", "web", "worker"], ["db", "web", "worker"]] {
            press(&mut screen, KeyCode::Char('o'));
            assert_eq!(names(&screen), expected, "{:?}", screen.sort);
        }
        assert_eq!(screen.sort, None);
    }

    #[test]
    fn a_log_is_opened_widened_and_closed_and_follows_the_selection() {
        let mut screen = screen();
        let log = |name: &str| Some(Wish::Ask(Job::Read(Beside::Log(name.to_owned()))));
        assert_eq!(press(&mut screen, KeyCode::Char('l')), log("db"));
        assert_eq!(press(&mut screen, KeyCode::Down), log("web"));
        screen.pane_read(Text::Log("db".to_owned(), Vec::new()));
        assert!(screen.text.is_none(), "of what was selected before");
        screen.pane_read(Text::Log("web".to_owned(), vec![(ppm_protocol::Stream::Stdout, "hello".to_owned())]));
        assert!(screen.text.is_some());
        assert_eq!(press(&mut screen, KeyCode::Char('l')), log("web"));
        assert_eq!(screen.pane, Pane::WholeLog);
        press(&mut screen, KeyCode::Up);
        assert_eq!((screen.scrolled, screen.selected), (1, Some(2)));
        assert_eq!(press(&mut screen, KeyCode::Esc), Some(Wish::Ask(Job::Read(Beside::Nothing))));
        assert_eq!(screen.pane, Pane::None);
    }

    #[test]
    fn figures_are_remembered_as_long_as_a_run_lasts_and_not_for_ever() {
        let mut screen = screen();
        for _ in 0..100 {
            screen.seen(several());
        }
        assert_eq!((screen.traces[&1].cpu.len(), screen.traces[&1].memory.len()), (REMEMBERED, REMEMBERED));
        screen.seen(Seen { stats: vec![StatsRow { id: Some(1), ..StatsRow::default() }], ..several() });
        assert_eq!(screen.traces[&1].cpu.len(), 0);
        screen.seen(Seen::default());
        assert!(screen.traces.is_empty());
    }
}
