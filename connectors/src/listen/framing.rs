//! Where a message ends in a stream of bytes: both ways of RFC 6587.
//!
//! Pure, and bounded: it holds at most one message of the longest length. Each message says by its
//! first bytes how it is framed: `83 <34>Nov 21 ...` counts its bytes, anything else ends with a
//! line feed. A line that begins with a number, such as an ISO time, is no count: a count is followed by
//! a space and a priority.

/// The most digits of a count that is one.
const COUNT_DIGITS_MAX: usize = 9;

/// What was between two ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    /// A message.
    Whole(Vec<u8>),
    /// The first bytes of a message that is longer than the limit.
    TooLong(Vec<u8>),
}

/// Cuts a stream of bytes into messages.
#[derive(Debug)]
pub(super) struct Framer {
    line_bytes_max: usize,
    /// The message under way.
    buffer: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first bytes of a message: which framing it has is not known yet.
    Start,
    /// Until a line feed.
    Line,
    /// So many bytes more.
    Counted(usize),
    /// The rest of a line that is too long.
    PassLine,
    /// The rest of a counted message that is too long.
    PassCounted(usize),
}

/// What the first bytes of a message say.
enum Kind {
    Unclear,
    Line,
    Counted { header: usize, bytes: usize },
}

impl Framer {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self { line_bytes_max, buffer: Vec::new(), state: State::Start }
    }

    /// Takes bytes and hands out the messages that end in them.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut out: impl FnMut(Frame)) {
        while !bytes.is_empty() {
            bytes = match self.state {
                State::Start => self.start(bytes, &mut out),
                State::Line => self.line(bytes, &mut out),
                State::Counted(left) => self.counted(bytes, left, &mut out),
                State::PassLine => self.pass_line(bytes),
                State::PassCounted(left) => {
                    let taken = left.min(bytes.len());
                    self.pass_counted(left - taken);
                    &bytes[taken..]
                }
            };
        }
    }

    /// The stream has ended: what there is of a line is a message. `false` if a counted message was
    /// cut off, which is none.
    pub(super) fn finish(mut self, mut out: impl FnMut(Frame)) -> bool {
        match self.state {
            State::Start | State::Line => {
                if self.buffer.len() > self.line_bytes_max {
                    out(self.cut());
                } else if !self.buffer.is_empty() {
                    out(Frame::Whole(std::mem::take(&mut self.buffer)));
                }
                true
            }
            State::PassLine => true,
            State::Counted(_) | State::PassCounted(_) => false,
        }
    }

    /// Takes a byte at a time, so that no byte of the message after is touched.
    fn start<'b>(&mut self, bytes: &'b [u8], out: &mut impl FnMut(Frame)) -> &'b [u8] {
        // Some senders put a line feed after a counted message.
        if self.buffer.is_empty() && bytes[0] == b'\n' {
            return &bytes[1..];
        }
        self.buffer.push(bytes[0]);
        match kind(&self.buffer) {
            Kind::Unclear => return &bytes[1..],
            Kind::Line => {
                // What has come so far is the line's beginning; its last byte may be its end.
                self.buffer.pop();
                self.state = State::Line;
                if self.buffer.len() > self.line_bytes_max {
                    out(self.cut());
                    self.state = State::PassLine;
                }
                return bytes;
            }
            Kind::Counted { header, bytes: count } => {
                self.buffer.drain(..header);
                // One byte of the message has come already: the `<`.
                self.state = State::Counted(count - self.buffer.len());
            }
        }
        &bytes[1..]
    }

    fn line<'b>(&mut self, bytes: &'b [u8], out: &mut impl FnMut(Frame)) -> &'b [u8] {
        let room = self.line_bytes_max - self.buffer.len().min(self.line_bytes_max);
        let end = bytes.iter().take(room + 1).position(|byte| *byte == b'\n');
        let Some(end) = end else {
            let taken = room.min(bytes.len());
            self.buffer.extend_from_slice(&bytes[..taken]);
            if taken < bytes.len() {
                out(Frame::TooLong(std::mem::take(&mut self.buffer)));
                self.state = State::PassLine;
            }
            return &bytes[taken..];
        };
        self.buffer.extend_from_slice(&bytes[..end]);
        self.state = State::Start;
        out(Frame::Whole(std::mem::take(&mut self.buffer)));
        &bytes[end + 1..]
    }

    fn counted<'b>(
        &mut self,
        bytes: &'b [u8],
        left: usize,
        out: &mut impl FnMut(Frame),
    ) -> &'b [u8] {
        let room = self.line_bytes_max - self.buffer.len().min(self.line_bytes_max);
        let taken = left.min(room).min(bytes.len());
        self.buffer.extend_from_slice(&bytes[..taken]);
        let left = left - taken;
        if left == 0 {
            out(Frame::Whole(std::mem::take(&mut self.buffer)));
            self.state = State::Start;
        } else if self.buffer.len() >= self.line_bytes_max {
            out(Frame::TooLong(std::mem::take(&mut self.buffer)));
            self.pass_counted(left);
        } else {
            self.state = State::Counted(left);
        }
        &bytes[taken..]
    }

    /// The beginning of a number in front that is longer than a line may be.
    fn cut(&mut self) -> Frame {
        self.buffer.truncate(self.line_bytes_max);
        Frame::TooLong(std::mem::take(&mut self.buffer))
    }

    fn pass_line<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                self.state = State::Start;
                &bytes[end + 1..]
            }
            None => &[],
        }
    }

    fn pass_counted(&mut self, left: usize) {
        self.state = if left == 0 { State::Start } else { State::PassCounted(left) };
    }
}

fn kind(start: &[u8]) -> Kind {
    let digits = start.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits == 0 || digits > COUNT_DIGITS_MAX || start[0] == b'0' {
        return Kind::Line;
    }
    match &start[digits..] {
        [] | [b' '] => Kind::Unclear,
        [b' ', b'<'] => {
            let text = std::str::from_utf8(&start[..digits]).expect("digits are ASCII");
            let bytes = text.parse().expect("nine digits are a usize");
            Kind::Counted { header: digits + 1, bytes }
        }
        _ => Kind::Line,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds `parts`; the messages, and whether the end was clean.
    fn frames(limit: usize, parts: &[&[u8]]) -> (Vec<Frame>, bool) {
        let mut framer = Framer::new(limit);
        let mut out = Vec::new();
        for part in parts {
            framer.feed(part, |frame| out.push(frame));
        }
        let clean = framer.finish(|frame| out.push(frame));
        (out, clean)
    }

    fn whole(text: &str) -> Frame {
        Frame::Whole(text.as_bytes().to_vec())
    }

    fn too_long(text: &str) -> Frame {
        Frame::TooLong(text.as_bytes().to_vec())
    }

    #[test]
    fn both_framings_may_be_mixed() {
        let stream = b"<13>one\n8 <13>two\n9 <13>three\n2026-11-21T1 iso\n12 monkeys\nlast";
        let (out, clean) = frames(100, &[stream]);
        let lines = ["<13>one", "<13>two\n", "<13>three", "2026-11-21T1 iso", "12 monkeys", "last"];
        assert_eq!(out, lines.map(whole));
        assert!(clean);
    }

    #[test]
    fn what_is_too_long_is_cut_and_the_next_message_is_whole() {
        let (out, _) = frames(5, &[b"123456789\n12345\n8 <1>56789<1>x\n"]);
        assert_eq!(out, [too_long("12345"), whole("12345"), too_long("<1>56"), whole("<1>x")]);
    }

    #[test]
    fn a_counted_message_that_is_cut_off_is_none() {
        assert_eq!(frames(100, &[b"9 <13>thr"]), (vec![], false));
        assert_eq!(frames(3, &[b"9 <13>thr"]), (vec![too_long("<13")], false));
        assert_eq!(frames(100, &[b"12"]), (vec![whole("12")], true));
    }

    proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_arrive(
            stream in r"([1-9]{1,2} <|[0-9a<\n ]){0,40}",
            cuts in proptest::collection::vec(0..80_usize, 0..6),
            limit in 1..20_usize,
        ) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let parts: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            prop_assert_eq!(frames(limit, &parts), frames(limit, &[bytes]));
        }

        #[test]
        fn no_message_is_longer_than_the_limit(stream: Vec<u8>, limit in 1..20_usize) {
            for frame in frames(limit, &[&stream]).0 {
                let (Frame::Whole(bytes) | Frame::TooLong(bytes)) = frame;
                prop_assert!(bytes.len() <= limit);
            }
        }
    }
}
