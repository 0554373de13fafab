//! `ppm-daemon`: the daemon alone, with the smallest footprint.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use lexopt::Arg::{Long, Short};
use ppm_daemon::Options;

const HELP: &str = "\
The supervisor of PPM, in the foreground.

Usage: ppm-daemon [--config FILE] [--socket PATH] [-- COMMAND ARGS]

With a COMMAND it starts that too, as the essential service `main`, passes on its input,
signals and exit code, and needs no configuration.

Options:
  -c, --config FILE  the configuration; else PPM_CONFIG, else the first that exists of
                     ~/.config/partner/partner-pm.yml, ~/.partner-pm.yml, ./.partner-pm.yml
  -s, --socket PATH  the control socket; else PPM_SOCKET, else $XDG_RUNTIME_DIR/ppm.sock,
                     else /run/ppm.sock (root) or /tmp/ppm-UID/ppm.sock
  -h, --help         print this
  -V, --version      print the version

PPM_LOG=error|warn|info|debug|trace chooses how much it says on standard error, else RUST_LOG
does; also by parts: `ppm_daemon::logs=debug,info`. PPM_LOG_FORMAT=json makes each line an
object, PPM_LOG_PREFIX=0 leaves the `ppm | ` out.

Exit codes: 0 after a requested shutdown, that of COMMAND or of another essential service
(128 + n for signal n, 127 not found, 126 not executable), 2 wrong usage, 73 no socket or
no address for `http`, 78 wrong configuration, 1 otherwise.
";

fn main() -> ExitCode {
    match parse(std::env::args_os()) {
        Ok(Asked::Run(options)) => ppm_daemon::run(&options),
        Ok(Asked::Print(text)) => {
            let _ = std::io::stdout().write_all(text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "error: {error}\n  hint: ppm-daemon --help");
            ExitCode::from(2)
        }
    }
}

enum Asked {
    Run(Options),
    Print(&'static str),
}

fn parse(args: impl Iterator<Item = OsString>) -> Result<Asked, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(args);
    let mut options = Options::default();
    loop {
        if let Some(mut raw) = parser.try_raw_args()
            && raw.next_if(|arg| arg == "--").is_some()
        {
            options.command = raw.collect();
        }
        let Some(arg) = parser.next()? else { break };
        match arg {
            Short('c') | Long("config") => options.config = Some(parser.value()?.into()),
            Short('s') | Long("socket") => options.socket = Some(parser.value()?.into()),
            Short('h') | Long("help") => return Ok(Asked::Print(HELP)),
            Short('V') | Long("version") => return Ok(Asked::Print(concat!("ppm-daemon ", env!("CARGO_PKG_VERSION"), "\n"))),
            other => return Err(other.unexpected()),
        }
    }
    Ok(Asked::Run(options))
}

#[cfg(test)]
mod tests {
    use super::HELP;

    #[test]
    fn the_page_of_the_manual_says_what_the_help_says() {
        let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/man/ppm-daemon.8")).unwrap();
        let (_, shown) = HELP.split_once("\n\n").unwrap();
        let roff = shown.replace('\\', "\\e").replace('-', "\\-").replace('`', "\\(ga");
        let roff: String = roff.lines().map(|line| format!("{}{line}\n", if line.starts_with('.') { "\\&" } else { "" })).collect();
        assert!(page.contains(&roff), "data/man/ppm-daemon.8 does not hold\n{roff}");
    }
}
