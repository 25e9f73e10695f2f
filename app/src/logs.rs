//! Where the process logs to: standard error, around whatever is drawn there.

use std::io::{self, Write};

use indicatif::ProgressBar;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

/// Logs what `directives` let through. `drawn` is taken off the screen while a line is written.
///
/// The directives were checked with the configuration. A second call in one process changes
/// nothing.
pub(crate) fn start(directives: &str, drawn: Option<ProgressBar>) {
    let filter = EnvFilter::new(directives);
    let is_terminal = io::IsTerminal::is_terminal(&io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(is_terminal)
        .with_writer(Lines { drawn });
    // Only the first logger of a process counts.
    let _ = builder.try_init();
}

/// Makes a writer for each line.
struct Lines {
    drawn: Option<ProgressBar>,
}

/// Writes one line.
struct Line {
    drawn: Option<ProgressBar>,
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line;

    fn make_writer(&'a self) -> Line {
        Line { drawn: self.drawn.clone() }
    }
}

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &self.drawn {
            Some(drawn) => drawn.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
