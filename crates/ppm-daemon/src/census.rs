//! Who is there: the processes that /proc shows.
//!
//! Read in the loop, but only when a main process has ended (the daemon's children) or when those of a service are
//! looked for that have left its group (all); and by the sampler, on its own thread. Where there is no /proc, or that of
//! another pid namespace, nobody is found, and services are their groups (R51).

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::unistd::getpid;
use ppm_core::event::Pid;
use ppm_core::kin::{Birth, Fact};

use crate::spawn::GUEST;

/// The variables by which a process is known as a service's, and as a hook's.
const SERVICE: &[u8] = b"PPM_SERVICE=";
const HOOK: &[u8] = b"PPM_HOOK=";

/// The variable that tells why a process was started.
const REASON: &[u8] = b"PPM_START_REASON=";

/// What the control group of a main process is called.
pub const MAIN: &str = "main";

/// What follows the name of a service in that of its group: names may be those of files that the kernel puts there.
pub const SUFFIX: &str = ".service";

/// A process chooses its environment, so no more of it than this is read.
const LONGEST_ENVIRONMENT: u64 = 1 << 20;

/// What the environment of a process tells of whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The name of the service that it was started for.
    pub service: String,
    /// The name of the hook, if it was one.
    pub hook: Option<String>,
}

/// What a process shows of its mark.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marked {
    /// This.
    As(Mark),
    /// None.
    Not,
    /// It is becoming another program, and shows nothing until it is one.
    NotYet,
}

/// How the kernel calls what lies below the groups of this daemon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names(Arc<[u8]>);

/// Reads /proc.
#[derive(Debug)]
pub struct Census {
    /// The list of the daemon's children; None: the kernel does not keep one.
    children: Option<PathBuf>,
    /// How control groups are told that services have; None: they have none.
    groups: Option<Names>,
    buffer: Vec<u8>,
}

/// A process that has not been reaped.
#[derive(Clone, Copy, Debug)]
pub struct Stat {
    /// Who it is.
    pub fact: Fact,
    /// It has ended.
    pub is_dead: bool,
    /// Its own time on processors, in clock ticks.
    pub cpu: u64,
    /// That of the children it has waited for, in clock ticks.
    pub cpu_of_dead: u64,
    /// Its threads.
    pub threads: u32,
    /// Virtual memory in bytes.
    pub vsz: u64,
    /// Resident memory in pages.
    pub rss: u64,
}

impl Census {
    /// None where /proc does not show the daemon under its own number.
    pub fn new(groups: Option<Names>) -> Option<Census> {
        let me = getpid().as_raw();
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let names = ["NSpid:", "Pid:"].into_iter().find_map(|name| status.lines().find_map(|line| line.strip_prefix(name)))?;
        if names.split_ascii_whitespace().ne([me.to_string()]) {
            return None; // the list goes on in namespaces below that of /proc
        }
        let children = PathBuf::from(format!("/proc/self/task/{me}/children"));
        Some(Census { children: Some(children).filter(|path| path.exists()), groups, buffer: Vec::with_capacity(4096) })
    }

    /// The daemon's children, as far as they are its main thread's, which all orphans are given to.
    pub fn children(&mut self) -> Vec<Pid> {
        match self.children.clone() {
            Some(path) => {
                self.read(&path);
                self.buffer.split(|byte| *byte == b' ').filter_map(number).map(Pid).collect()
            }
            None => {
                let me = Pid(getpid().as_raw());
                self.all().into_iter().filter(|fact| fact.parent == me).map(|fact| fact.pid).collect()
            }
        }
    }

    /// All living processes.
    pub fn all(&mut self) -> Vec<Fact> {
        pids().into_iter().filter_map(|pid| self.fact(pid)).collect()
    }

    /// One process, if it lives.
    pub fn fact(&mut self, pid: Pid) -> Option<Fact> {
        self.stat(pid).filter(|stat| !stat.is_dead).map(|stat| stat.fact)
    }

    /// The group of a process, also of one that has ended and not been reaped.
    pub fn group(&mut self, pid: Pid) -> Option<Pid> {
        self.stat(pid).map(|stat| stat.fact.group)
    }

    /// When a process was born, also one that has ended and not been reaped.
    pub fn birth(&mut self, pid: Pid) -> Option<Birth> {
        self.stat(pid).map(|stat| stat.fact.birth)
    }

    /// What is shown of a process, also of one that has ended and not been reaped.
    pub fn stat(&mut self, pid: Pid) -> Option<Stat> {
        if !self.read(&PathBuf::from(format!("/proc/{pid}/stat"))) {
            return None;
        }
        Stat::parse(pid, &self.buffer)
    }

    /// What this process was started for, if its environment still tells.
    pub fn mark(&mut self, pid: Pid) -> Option<Mark> {
        match self.marked(pid) {
            Marked::As(mark) => Some(mark),
            Marked::Not | Marked::NotYet => None,
        }
    }

    /// The same; a process in the midst of execve(2) is told from one that has no mark.
    pub fn marked(&mut self, pid: Pid) -> Marked {
        let file = |name: &str| PathBuf::from(format!("/proc/{pid}/{name}"));
        if let Some(names) = self.groups.clone()
            && self.read(&file("cgroup"))
            && let Some(mark) = names.mark(&self.buffer)
        {
            return Marked::As(mark);
        }
        if !self.read(&file("environ")) {
            return Marked::Not;
        }
        if !self.buffer.is_empty() {
            return Mark::parse(&self.buffer).map_or(Marked::Not, Marked::As);
        }
        // Neither arguments nor environment: the kernel shows them when it has set up the new program.
        let has_arguments = self.read(&file("cmdline")) && !self.buffer.is_empty();
        if has_arguments || self.fact(pid).is_none() { Marked::Not } else { Marked::NotYet }
    }

    fn read(&mut self, path: &Path) -> bool {
        self.buffer.clear();
        File::open(path).and_then(|file| file.take(LONGEST_ENVIRONMENT).read_to_end(&mut self.buffer)).is_ok()
    }
}

impl Names {
    /// Of those below this one.
    pub fn below(group: Vec<u8>) -> Names {
        Names(group.into())
    }

    /// Whose main process this one descends from, by its file `cgroup` (proc(5)).
    pub fn mark(&self, groups: &[u8]) -> Option<Mark> {
        let line = groups.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"0::"))?;
        let below = std::str::from_utf8(line.strip_prefix(&*self.0)?).ok()?;
        let (service, part) = below.split_once('/')?;
        let part = part.split('/').next()?;
        let hook = (part != MAIN).then(|| part.to_owned());
        let service = service.strip_suffix(SUFFIX).filter(|service| !service.is_empty())?;
        Some(Mark { service: service.to_owned(), hook })
    }
}

impl Stat {
    /// Reads what the kernel shows of this process in its file `stat` (proc_pid_stat(5)).
    pub fn parse(pid: Pid, line: &[u8]) -> Option<Stat> {
        // The name stands in parentheses and may hold anything, also parentheses (proc_pid_stat(5)).
        let after_name = line.iter().rposition(|byte| *byte == b')')? + 2;
        let fields: Vec<&[u8]> = line.get(after_name..)?.split(|byte| *byte == b' ').collect();
        let field = |at: usize| fields.get(at - 3).copied();
        let number_in = |at: usize| field(at).and_then(number::<u64>);
        let pid_in = |at| field(at).and_then(number).map(Pid);
        let threads = field(20).and_then(number)?;
        Some(Stat {
            fact: Fact { pid, parent: pid_in(4)?, group: pid_in(5)?, session: pid_in(6)?, birth: Birth(number_in(22)?) },
            // The main thread may have ended before others.
            is_dead: matches!(field(3)?, b"Z" | b"X") && threads <= 1,
            cpu: number_in(14)?.saturating_add(number_in(15)?),
            cpu_of_dead: number_in(16)?.saturating_add(number_in(17)?),
            threads,
            vsz: number_in(23)?,
            rss: number_in(24).unwrap_or(0),
        })
    }
}

impl Mark {
    /// Reads the environment of a process, as its file `environ` shows it.
    pub fn parse(environment: &[u8]) -> Option<Mark> {
        let value = |name: &[u8]| {
            let value = environment.split(|byte| *byte == 0).find_map(|variable| variable.strip_prefix(name))?;
            std::str::from_utf8(value).ok().map(str::to_owned)
        };
        if value(REASON).as_deref() == Some(GUEST) {
            return None; // in a service's surroundings, but not of it
        }
        Some(Mark { service: value(SERVICE)?, hook: value(HOOK) })
    }
}

/// The numbers of all processes.
pub fn pids() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| number(entry.file_name().as_encoded_bytes()).map(Pid)).collect()
}

fn number<T: std::str::FromStr>(digits: &[u8]) -> Option<T> {
    std::str::from_utf8(digits).ok()?.trim_ascii_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    fn me() -> Pid {
        Pid(getpid().as_raw())
    }

    #[test]
    fn a_child_is_found_with_all_that_tells_whose_it_is() {
        let mut census = Census::new(None).unwrap();
        let mut command = Command::new("cat");
        command.envs([("PPM_SERVICE", "web"), ("PPM_HOOK", "on_crash")]).process_group(0);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let pid = Pid(child.id().cast_signed());
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap(); // its execve(2) is over
        let fact = census.fact(pid).unwrap();
        let own = census.fact(me()).unwrap();
        assert_eq!((fact.parent, fact.group, fact.session), (me(), pid, own.session));
        assert!(fact.birth >= own.birth);
        assert!(census.all().contains(&fact));
        assert_eq!(census.mark(pid), Some(Mark { service: "web".to_owned(), hook: Some("on_crash".to_owned()) }));
        child.kill().unwrap();
        while census.fact(pid).is_some() {
            std::thread::yield_now(); // dying
        }
        assert!(!census.all().iter().any(|fact| fact.pid == pid), "a zombie");
        child.wait().unwrap();
    }

    #[test]
    fn children_are_found_with_and_without_the_kernels_list() {
        // Of the main thread: that of a test is another.
        let mut census = Census { children: Some(PathBuf::from("/proc/thread-self/children")), groups: None, buffer: Vec::new() };
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid(child.id().cast_signed());
        assert_eq!(census.children(), [pid]);
        census.children = None;
        assert!(census.children().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn whoever_is_not_there_has_no_facts() {
        let mut census = Census::new(None).unwrap();
        assert_eq!((census.fact(Pid(i32::MAX)), census.marked(Pid(i32::MAX))), (None, Marked::Not));
    }

    #[test]
    fn a_group_tells_whose_a_process_is() {
        let names = Names(b"/docker/abc/ppm-1/"[..].into());
        let mark = |service: &str, hook: Option<&str>| Some(Mark { service: service.to_owned(), hook: hook.map(str::to_owned) });
        assert_eq!(names.mark(b"4:memory:/x\n0::/docker/abc/ppm-1/web.service/main\n"), mark("web", None));
        assert_eq!(names.mark(b"0::/docker/abc/ppm-1/a.service.service/on_crash"), mark("a.service", Some("on_crash")));
        assert_eq!(names.mark(b"0::/docker/abc/ppm-1/web.service/main/of/its/own\n"), mark("web", None));
        for other in [
            "0::/docker/abc/ppm-1\n",
            "0::/docker/abc/ppm-12/web.service/main\n",
            "1:cpu:/docker/abc/ppm-1/web.service/main\n",
            "0::/\n",
            "0::/docker/abc/ppm-1/.service/main\n",
            "",
        ] {
            assert_eq!(names.mark(other.as_bytes()), None, "{other}");
        }
    }
}
