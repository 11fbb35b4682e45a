//! Which tokens may come next, so that a text becomes what a schema, a grammar or a regex says.
//!
//! Plain WebAssembly exports. An instance holds one vocabulary and any number of texts, each under
//! its constraint and known by a number. Results lie in the instance's memory until the next call.
//! A panic, or memory that runs out, leaves an instance that is of no more use.

mod gbnf;

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::toktrie::{SimpleVob, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};

use gbnf::{Automaton, TooMuch};

/// How a call went; after all but the first, `message` says why.
#[repr(u32)]
#[derive(Clone, Copy, PartialEq)]
pub enum Outcome {
    Done = 0,
    /// It is not possible.
    Refused = 1,
    /// It takes more than the limits allow.
    TooMuch = 2,
}

/// Most bytes that are forced at once.
const MOST_FORCED: usize = 256;

/// A text under its constraint.
enum Text {
    /// Of a grammar in llguidance's dialect of Lark
    Lark(Box<Matcher>),
    /// Of a grammar in llama.cpp's GBNF
    Gbnf(gbnf::Text, Rc<RefCell<Automaton>>),
}

/// Why something failed.
struct Failure(Outcome, String);

impl From<TooMuch> for Failure {
    fn from(TooMuch(what): TooMuch) -> Failure {
        Failure(Outcome::TooMuch, what)
    }
}

/// What llguidance's message means: it has no types of errors.
fn failure(message: String) -> Failure {
    let limits = ["too big", "too large", "too many", "Too many", "fuel", "max is", "exceeded"];
    let is_limit = limits.into_iter().any(|words| message.contains(words));
    Failure(if is_limit { Outcome::TooMuch } else { Outcome::Refused }, message)
}

impl Text {
    fn mask(&mut self, tokens: &TokEnv) -> Result<SimpleVob, Failure> {
        match self {
            Text::Lark(matcher) => {
                matcher.compute_mask_or_eos().map_err(|error| failure(error.to_string()))
            }
            Text::Gbnf(text, automaton) => Ok(text.mask(&mut automaton.borrow_mut(), tokens)?),
        }
    }

    /// One that may not come next ends a text of Lark.
    fn take(&mut self, tokens: &TokEnv, token: TokenId) -> Result<(), Failure> {
        let is_allowed = match self {
            Text::Lark(matcher) => {
                matcher.consume_token(token).map_err(|error| failure(error.to_string()))?;
                true
            }
            Text::Gbnf(text, automaton) => text.take(&mut automaton.borrow_mut(), tokens, token)?,
        };
        let refused = || Failure(Outcome::Refused, format!("token {token} may not come next"));
        is_allowed.then_some(()).ok_or_else(refused)
    }

    /// How many of some tokens, the first ones, may come next one after another.
    fn count_allowed(&mut self, tokens: &TokEnv, ids: &[TokenId]) -> Result<usize, Failure> {
        match self {
            Text::Lark(matcher) => {
                matcher.validate_tokens(ids).map_err(|error| failure(error.to_string()))
            }
            Text::Gbnf(text, automaton) => {
                let mut automaton = automaton.borrow_mut();
                let mut ahead = text.clone();
                for (count, &id) in ids.iter().enumerate() {
                    if !ahead.take(&mut automaton, tokens, id)? {
                        return Ok(count);
                    }
                }
                Ok(ids.len())
            }
        }
    }

    fn roll_back(&mut self, count: usize) -> Result<(), Failure> {
        match self {
            Text::Lark(matcher) => {
                matcher.rollback(count).map_err(|error| failure(error.to_string()))
            }
            Text::Gbnf(text, _) => {
                text.roll_back(count);
                Ok(())
            }
        }
    }

    fn may_end(&mut self) -> bool {
        match self {
            Text::Lark(matcher) => matcher.is_accepting().unwrap_or(false),
            Text::Gbnf(text, automaton) => text.may_end(&automaton.borrow()),
        }
    }

    fn must_end(&self) -> bool {
        match self {
            Text::Lark(matcher) => matcher.is_stopped(),
            Text::Gbnf(text, automaton) => text.must_end(&automaton.borrow()),
        }
    }

    fn forced(&mut self) -> Vec<u8> {
        match self {
            Text::Lark(matcher) => matcher.compute_ff_bytes(),
            Text::Gbnf(text, automaton) => {
                text.forced(&mut automaton.borrow_mut(), MOST_FORCED).unwrap_or_default()
            }
        }
    }

    fn fork(&self) -> Text {
        match self {
            Text::Lark(matcher) => Text::Lark(matcher.clone()),
            Text::Gbnf(text, automaton) => Text::Gbnf(text.clone(), automaton.clone()),
        }
    }
}

/// What an instance holds between calls.
#[derive(Default)]
struct Room {
    factory: Option<ParserFactory>,
    /// By their numbers; those that are free hold nothing
    texts: Vec<Option<Text>>,
    mask: Option<SimpleVob>,
    forced: Vec<u8>,
    message: String,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// The bytes of all tokens, without an encoder: how a text is cut into tokens is the model's choice.
struct Vocabulary(TokTrie);

impl TokenizerEnv for Vocabulary {
    fn tok_trie(&self) -> &TokTrie {
        &self.0
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.0.greedy_tokenize(bytes)
    }

    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

impl Room {
    fn factory(&self) -> &ParserFactory {
        self.factory.as_ref().expect("learn comes first")
    }

    /// Does something with a text, and keeps why that failed.
    fn with(
        &mut self,
        text: usize,
        work: impl FnOnce(&mut Text, &TokEnv) -> Result<(), Failure>,
    ) -> Outcome {
        let tokens = self.factory().tok_env().clone();
        let text = self.texts[text].as_mut().expect("the text is there");
        let result = work(text, &tokens);
        self.outcome(result)
    }

    fn outcome(&mut self, result: Result<(), Failure>) -> Outcome {
        let Err(Failure(outcome, message)) = result else { return Outcome::Done };
        self.message = message;
        outcome
    }

    /// Keeps a text, and gives its number.
    fn keep(&mut self, text: Text) -> u32 {
        let free = self.texts.iter().position(Option::is_none).unwrap_or_else(|| {
            self.texts.push(None);
            self.texts.len() - 1
        });
        self.texts[free] = Some(text);
        free as u32
    }
}

/// Room for `length` bytes, for what the next call is given.
#[no_mangle]
pub extern "C" fn allocate(length: usize) -> *mut u8 {
    let words = length.div_ceil(4);
    Vec::<u32>::with_capacity(words).leak().as_mut_ptr().cast()
}

/// Gives back what `allocate` gave.
///
/// # Safety
/// `pointer` is what `allocate(length)` gave, and has not been released.
#[no_mangle]
pub unsafe extern "C" fn release(pointer: *mut u8, length: usize) {
    drop(Vec::<u32>::from_raw_parts(pointer.cast(), 0, length.div_ceil(4)));
}

/// Takes the tokens: `lengths` has their numbers of bytes, 0 for those that are no text, and
/// `bytes` has the bytes, one token's after another's. `end` is one of those that end a text, or
/// `u32::MAX`.
///
/// # Safety
/// `lengths` has `count` numbers, and `bytes` as many bytes as they sum to.
#[no_mangle]
pub unsafe extern "C" fn learn(
    lengths: *const u32,
    count: usize,
    bytes: *const u8,
    end: u32,
) -> Outcome {
    let mut next = bytes;
    let mut words = Vec::with_capacity(count);
    for &length in std::slice::from_raw_parts(lengths, count) {
        words.push(std::slice::from_raw_parts(next, length as usize).to_vec());
        next = next.add(length as usize);
    }
    let info = TokRxInfo::new(count as u32, end);
    let tokens: TokEnv = Arc::new(Vocabulary(TokTrie::from(&info, &words)));
    drop(words);
    ROOM.with_borrow_mut(|room| {
        let made = ParserFactory::new_simple(&tokens).map(|mut factory| {
            factory.quiet();
            factory.limits_mut().verbose_errors = false;
            factory.limits_mut().max_lexer_states = MOST_LEXER_STATES;
            factory.limits_mut().initial_lexer_fuel = MOST_LEXER_FUEL;
            room.factory = Some(factory);
        });
        room.outcome(made.map_err(|error| Failure(Outcome::Refused, error.to_string())))
    })
}

/// A state of the lexer takes 1 to 2 KB.
const MOST_LEXER_STATES: usize = 50_000;

/// Most steps of work to look into a lexer: some ns each, some µs for remainders of `multipleOf`.
const MOST_LEXER_FUEL: u64 = 300_000;

/// Begins a text under a grammar in llguidance's dialect of Lark. Its number is at `text`.
///
/// # Safety
/// `grammar` has `length` bytes of UTF-8, and `text` room for a number.
#[no_mangle]
pub unsafe extern "C" fn begin_lark(grammar: *const u8, length: usize, text: *mut u32) -> Outcome {
    let grammar = String::from_utf8_lossy(std::slice::from_raw_parts(grammar, length)).into_owned();
    ROOM.with_borrow_mut(|room| {
        let parser = room.factory().create_parser(TopLevelGrammar::from_lark(grammar));
        let result = parser.map_err(|error| failure(format!("{error:#}")));
        let result = result.map(|parser| {
            *text = room.keep(Text::Lark(Box::new(Matcher::new(Ok(parser)))));
        });
        room.outcome(result)
    })
}

/// Begins a text under a grammar in the words of `gbnf.rs`. Its number is at `text`.
///
/// # Safety
/// `words` has `count` words, and `text` room for a number.
#[no_mangle]
pub unsafe extern "C" fn begin_gbnf(words: *const u32, count: usize, text: *mut u32) -> Outcome {
    let words = std::slice::from_raw_parts(words, count);
    ROOM.with_borrow_mut(|room| {
        let result = Automaton::new(words).map_err(Failure::from).map(|automaton| {
            let begun = gbnf::Text::new(&automaton);
            *text = room.keep(Text::Gbnf(begun, Rc::new(RefCell::new(automaton))));
        });
        room.outcome(result)
    })
}

/// A text that goes on from where another is; gives its number.
#[no_mangle]
pub extern "C" fn fork(text: usize) -> u32 {
    ROOM.with_borrow_mut(|room| {
        let fork = room.texts[text].as_ref().expect("the text is there").fork();
        room.keep(fork)
    })
}

/// Forgets a text.
#[no_mangle]
pub extern "C" fn forget(text: usize) {
    ROOM.with_borrow_mut(|room| room.texts[text] = None);
}

/// Finds which tokens may come next; `mask` then points at them.
#[no_mangle]
pub extern "C" fn compute(text: usize) -> Outcome {
    ROOM.with_borrow_mut(|room| {
        let mut found = None;
        let outcome = room.with(text, |text, tokens| {
            found = Some(text.mask(tokens)?);
            Ok(())
        });
        room.mask = found;
        outcome
    })
}

/// [tokens / 32, rounded up] a bit for each token, the lowest first: those that may come next.
#[no_mangle]
pub extern "C" fn mask() -> *const u32 {
    ROOM.with_borrow(|room| room.mask.as_ref().map_or(std::ptr::null(), SimpleVob::as_ptr))
}

/// Lengthens a text by a token, which may come next: any other is refused, and may end the text.
#[no_mangle]
pub extern "C" fn take(text: usize, token: u32) -> Outcome {
    ROOM.with_borrow_mut(|room| room.with(text, |text, tokens| text.take(tokens, token)))
}

/// How many of these tokens, the first ones, may come next one after another.
///
/// # Safety
/// `ids` has `count` numbers.
#[no_mangle]
pub unsafe extern "C" fn count_allowed(text: usize, ids: *const u32, count: usize) -> usize {
    let ids = std::slice::from_raw_parts(ids, count);
    let mut allowed = 0;
    ROOM.with_borrow_mut(|room| {
        room.with(text, |text, tokens| {
            allowed = text.count_allowed(tokens, ids)?;
            Ok(())
        })
    });
    allowed
}

/// Takes the last `count` tokens back.
#[no_mangle]
pub extern "C" fn roll_back(text: usize, count: usize) -> Outcome {
    ROOM.with_borrow_mut(|room| room.with(text, |text, _| text.roll_back(count)))
}

/// Whether the text may end here.
#[no_mangle]
pub extern "C" fn may_end(text: usize) -> bool {
    ROOM.with_borrow_mut(|room| room.texts[text].as_mut().is_some_and(Text::may_end))
}

/// Whether nothing may follow.
#[no_mangle]
pub extern "C" fn must_end(text: usize) -> bool {
    ROOM.with_borrow(|room| room.texts[text].as_ref().is_some_and(Text::must_end))
}

/// Finds the bytes that come next whatever is chosen; gives how many they are. `forced` points at them.
#[no_mangle]
pub extern "C" fn force(text: usize) -> usize {
    ROOM.with_borrow_mut(|room| {
        room.forced = room.texts[text].as_mut().expect("the text is there").forced();
        room.forced.len()
    })
}

/// What `force` has found.
#[no_mangle]
pub extern "C" fn forced() -> *const u8 {
    ROOM.with_borrow(|room| room.forced.as_ptr())
}

/// Why the last call failed, as UTF-8.
#[no_mangle]
pub extern "C" fn message() -> *const u8 {
    ROOM.with_borrow(|room| room.message.as_ptr())
}

/// Bytes of `message`.
#[no_mangle]
pub extern "C" fn message_length() -> usize {
    ROOM.with_borrow(|room| room.message.len())
}
