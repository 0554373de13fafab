//! `ppm top`: a live view of all services.
//!
//! Three threads that only wait: one for keys, one for signals, one that asks the daemon ([`feed`]). This one shows what
//! they tell ([`screen`] knows what, [`draw`] how), and draws only when something has changed. Invariant: whatever ends it,
//! the terminal is left as it was found.

mod draw;
mod feed;
mod screen;

use std::io::{self, IsTerminal, Stdout, stdout};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::sys::signal::{SigSet, Signal};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::event::{self, Event};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};

use crate::client::Client;
use crate::failure::{Code, Failure, Stop, io_words};
use crate::show::Look;
use crate::streams::Streams;
use crate::top::feed::Feed;
use crate::top::screen::{Screen, Wish};

/// What the threads tell.
enum Told {
    /// Of the terminal: a key, or another size.
    Terminal(Event),
    /// Of the daemon.
    Daemon(feed::Told),
    /// Somebody wants it to end.
    Signal(Signal),
    /// The terminal cannot be read any more.
    TerminalGone,
}

/// Shows the services until its user has seen enough. `client` is connected to the daemon at `path`.
pub fn run(path: &Path, client: Client, every: Duration, streams: &Streams) -> Result<Code, Stop> {
    if !stdout().is_terminal() || !io::stdin().is_terminal() {
        let hint = "'ppm stats -f' shows figures again and again, with --json for programs";
        return Err(Failure::new(Code::Failed, "top needs a terminal").hint(hint).into());
    }
    let (sender, told) = mpsc::channel();
    listen_for_signals(sender.clone());
    let feed = Feed::begin(path, client, every, sender.clone());
    let mut view =
        View::open().map_err(|error| Failure::new(Code::Failed, format!("the terminal cannot be used: {}", io_words(&error))))?;
    listen_for_keys(sender);
    let mut screen = Screen::new(streams.look.colour);
    let outcome = show(&mut view, &mut screen, streams, &feed, &told);
    drop(view);
    outcome
}

fn show(view: &mut View, screen: &mut Screen, streams: &Streams, feed: &Feed, told: &mpsc::Receiver<Told>) -> Result<Code, Stop> {
    loop {
        // Colours are the screen's business: in a text they would be letters.
        let look = Look { colour: false, ..streams.look_again() };
        view.terminal.draw(|frame| draw::draw(frame, screen, &look)).map_err(|_| Stop::ReaderGone)?;
        // What has come meanwhile is shown by one drawing.
        let Ok(first) = told.recv() else { return Ok(Code::Done) };
        for told in [first].into_iter().chain(told.try_iter()) {
            let wish = match told {
                Told::Terminal(event) => screen.typed(&event),
                Told::Daemon(feed::Told::Seen(seen)) => {
                    screen.seen(*seen);
                    None
                }
                Told::Daemon(feed::Told::Pane(text)) => {
                    screen.pane_read(text);
                    None
                }
                Told::Daemon(feed::Told::Done(outcome)) => {
                    screen.done(outcome);
                    None
                }
                Told::Daemon(feed::Told::Lost(failure)) => return Err(failure.into()),
                Told::Signal(Signal::SIGINT) => return Ok(Code::Interrupted),
                Told::Signal(_) | Told::TerminalGone => return Ok(Code::Done),
            };
            match wish {
                None => {}
                Some(Wish::Quit) => return Ok(Code::Done),
                Some(Wish::Interrupt) => return Ok(Code::Interrupted),
                Some(Wish::Ask(job)) => feed.ask(job),
            }
        }
    }
}

/// The terminal, taken over: given back when this is dropped.
struct View {
    terminal: Terminal<CrosstermBackend<Stdout>>,
}

impl View {
    fn open() -> io::Result<View> {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            give_back();
            usual(panic);
        }));
        enable_raw_mode()?;
        let opened = execute!(stdout(), EnterAlternateScreen).and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        let opened = opened.and_then(|mut terminal| terminal.hide_cursor().map(|()| terminal));
        if opened.is_err() {
            give_back();
        }
        Ok(View { terminal: opened? })
    }
}

impl Drop for View {
    fn drop(&mut self) {
        give_back();
    }
}

fn give_back() {
    let _ = execute!(stdout(), LeaveAlternateScreen, ratatui::crossterm::cursor::Show);
    let _ = disable_raw_mode();
}

/// The signals by which it ends are blocked before any other thread is there, and waited for by one: so the terminal is
/// given back.
fn listen_for_signals(sender: mpsc::Sender<Told>) {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGQUIT].into_iter().collect();
    if signals.thread_block().is_ok() {
        thread::spawn(move || {
            while let Ok(signal) = signals.wait() {
                let _ = sender.send(Told::Signal(signal));
            }
        });
    }
}

fn listen_for_keys(sender: mpsc::Sender<Told>) {
    thread::spawn(move || {
        loop {
            let (told, is_last) = match event::read() {
                Ok(event) => (Told::Terminal(event), false),
                Err(_) => (Told::TerminalGone, true),
            };
            if sender.send(told).is_err() || is_last {
                return;
            }
        }
    });
}

/// Whoever reads what is printed: a connection is given up when that is gone.
fn reader() -> impl AsFd {
    stdout()
}
