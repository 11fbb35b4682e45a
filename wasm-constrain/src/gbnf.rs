//! Texts of a grammar in llama.cpp's GBNF: a pushdown automaton over bytes, run as a finite one.
//!
//! What may follow is a set of stacks of positions in the rules. Stacks share their tails, and sets
//! of them are states, each known by a number: what a byte makes of a state is found once, and so is
//! its mask. A rule that ends with a rule leaves nothing on the stack, so that loops come back to
//! the states that they began with.

use std::collections::{HashMap, HashSet};

use llguidance::toktrie::{Recognizer, SimpleVob, TokEnv, TokenId};
use regex_syntax::utf8::{Utf8Range, Utf8Sequences};

/// Most that one grammar may take: states, stacks in one of them, and steps of work for one token or mask.
const MOST_STATES: usize = 50_000;
const MOST_STACKS: usize = 4_096;
const MOST_WORK: usize = 2_000_000;
/// Masks that are kept.
const MOST_MASKS: usize = 256;

/// The state in which nothing may follow, and the text may not end.
const DEAD: u32 = 0;
const UNKNOWN: u32 = u32::MAX;
/// The empty stack.
const BOTTOM: u32 = u32::MAX;

/// The grammar took more than its limits.
#[derive(Debug)]
pub struct TooMuch(pub String);

#[derive(Clone, Copy)]
enum Element {
    End,
    Rule(u32),
    /// One of some bytes, by its number in `bytes`
    Bytes(u32),
    Token {
        id: TokenId,
        negated: bool,
    },
}

/// The words that a grammar is written in: alternatives are elements up to an `END`.
mod word {
    pub const END: u32 = 0;
    pub const RULE: u32 = 1;
    pub const CLASS: u32 = 2;
    pub const TOKEN: u32 = 3;
    pub const NOT_TOKEN: u32 = 4;
}

/// 256 bits.
type ByteSet = [u64; 4];

/// The rules, one element after another.
#[derive(Default)]
struct Rules {
    elements: Vec<Element>,
    /// Where the alternatives of each rule begin
    starts: Vec<Vec<u32>>,
    bytes: Vec<ByteSet>,
    byte_sets: HashMap<ByteSet, u32>,
    /// Rules that stand for classes of code points, by their ranges
    classes: HashMap<Vec<u32>, Element>,
}

impl Rules {
    /// Reads `[rules, of each rule: alternatives, of each alternative: elements, END]`.
    fn read(words: &[u32]) -> Rules {
        let mut rules = Rules::default();
        let mut words = words.iter().copied();
        let mut next = || words.next().expect("a grammar is whole");
        let count = next();
        rules.starts.resize(count as usize, Vec::new());
        for rule in 0..count as usize {
            for _ in 0..next() {
                let mut elements = Vec::new();
                loop {
                    elements.push(match next() {
                        word::END => break,
                        word::RULE => Element::Rule(next()),
                        word::CLASS => {
                            let ranges = (0..2 * next()).map(|_| next()).collect();
                            rules.class(ranges)
                        }
                        word::TOKEN => Element::Token { id: next(), negated: false },
                        word::NOT_TOKEN => Element::Token { id: next(), negated: true },
                        other => unreachable!("{other} is no element"),
                    });
                }
                let start = rules.alternative(&elements);
                rules.starts[rule].push(start);
            }
        }
        rules
    }

    fn alternative(&mut self, elements: &[Element]) -> u32 {
        let start = self.elements.len() as u32;
        self.elements.extend_from_slice(elements);
        self.elements.push(Element::End);
        start
    }

    fn byte_set(&mut self, set: ByteSet) -> Element {
        let next = self.bytes.len() as u32;
        let number = *self.byte_sets.entry(set).or_insert(next);
        if number == next {
            self.bytes.push(set);
        }
        Element::Bytes(number)
    }

    /// A character of a class: its first and last code points, range after range.
    fn class(&mut self, ranges: Vec<u32>) -> Element {
        if let Some(&known) = self.classes.get(&ranges) {
            return known;
        }
        let mut single: ByteSet = [0; 4];
        let mut longer: Vec<Vec<Utf8Range>> = Vec::new();
        for range in ranges.chunks(2) {
            for sequence in sequences(range[0], range[1]) {
                match sequence[..] {
                    [one] => add(&mut single, one),
                    _ => longer.push(sequence),
                }
            }
        }
        let element = if longer.is_empty() {
            self.byte_set(single)
        } else {
            let mut starts = Vec::new();
            if single != [0; 4] {
                let one = self.byte_set(single);
                starts.push(self.alternative(&[one]));
            }
            for sequence in longer {
                let elements: Vec<Element> = sequence
                    .into_iter()
                    .map(|range| {
                        let mut set = [0; 4];
                        add(&mut set, range);
                        self.byte_set(set)
                    })
                    .collect();
                starts.push(self.alternative(&elements));
            }
            self.starts.push(starts);
            Element::Rule(self.starts.len() as u32 - 1)
        };
        self.classes.insert(ranges, element);
        element
    }
}

/// The UTF-8 of code points from one to another; surrogates have none.
fn sequences(first: u32, last: u32) -> Vec<Vec<Utf8Range>> {
    let parts = [(first, last.min(0xd7ff)), (first.max(0xe000), last.min(0x10ffff))];
    parts
        .into_iter()
        .filter_map(|(a, b)| Some((char::from_u32(a)?, char::from_u32(b)?)))
        .filter(|(a, b)| a <= b)
        .flat_map(|(a, b)| Utf8Sequences::new(a, b))
        .map(|sequence| sequence.as_slice().to_vec())
        .collect()
}

fn add(set: &mut ByteSet, range: Utf8Range) {
    for byte in range.start..=range.end {
        set[byte as usize / 64] |= 1 << (byte % 64);
    }
}

fn has(set: &ByteSet, byte: u8) -> bool {
    set[byte as usize / 64] >> (byte % 64) & 1 != 0
}

/// A set of stacks, each by its top; `accepting` where the empty one is among them.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Stacks {
    tops: Box<[u32]>,
    accepting: bool,
}

/// What is known of a state.
struct State {
    stacks: Stacks,
    /// The state after each byte, once one was asked for
    next: Option<Box<[u32; 256]>>,
}

/// A grammar and what is known of it; texts share it.
pub struct Automaton {
    rules: Rules,
    /// Stacks: a position in the rules, and the stack below
    nodes: Vec<(u32, u32)>,
    node_ids: HashMap<(u32, u32), u32>,
    states: Vec<State>,
    state_ids: HashMap<Stacks, u32>,
    masks: HashMap<u32, SimpleVob>,
    work: usize,
    seen: HashSet<(u32, u32)>,
    /// The state of an empty text
    start: u32,
}

impl Automaton {
    /// Reads a grammar, whose first rule is that of the text.
    pub fn new(words: &[u32]) -> Result<Automaton, TooMuch> {
        let mut automaton = Automaton {
            rules: Rules::read(words),
            nodes: Vec::new(),
            node_ids: HashMap::new(),
            states: Vec::new(),
            state_ids: HashMap::new(),
            masks: HashMap::new(),
            work: 0,
            seen: HashSet::new(),
            start: DEAD,
        };
        let dead = automaton.state(Vec::new(), false)?;
        debug_assert_eq!(dead, DEAD);
        let starts = automaton.rules.starts[0].clone();
        automaton.start = automaton.settle(starts.into_iter().map(|at| (at, BOTTOM)).collect())?;
        Ok(automaton)
    }

    /// Follows rules from some positions until all stacks have a byte or a token on top.
    fn settle(&mut self, mut open: Vec<(u32, u32)>) -> Result<u32, TooMuch> {
        let mut tops = Vec::new();
        let mut accepting = false;
        self.seen.clear();
        while let Some((position, below)) = open.pop() {
            if !self.seen.insert((position, below)) {
                continue;
            }
            self.work += 1;
            if self.work > MOST_WORK {
                return Err(TooMuch(format!("one token takes more than {MOST_WORK} steps")));
            }
            match self.rules.elements[position as usize] {
                Element::End if below == BOTTOM => accepting = true,
                Element::End => open.push(self.nodes[below as usize]),
                Element::Rule(rule) => {
                    let after = position + 1;
                    let is_last = matches!(self.rules.elements[after as usize], Element::End);
                    let below = if is_last { below } else { self.node(after, below) };
                    let starts = &self.rules.starts[rule as usize];
                    open.extend(starts.iter().map(|&start| (start, below)));
                }
                Element::Bytes(_) | Element::Token { .. } => tops.push(self.node(position, below)),
            }
            if tops.len() > MOST_STACKS {
                return Err(TooMuch(format!("there are more than {MOST_STACKS} ways to go on")));
            }
        }
        tops.sort_unstable();
        self.state(tops, accepting)
    }

    fn node(&mut self, position: u32, below: u32) -> u32 {
        *self.node_ids.entry((position, below)).or_insert_with(|| {
            self.nodes.push((position, below));
            self.nodes.len() as u32 - 1
        })
    }

    fn state(&mut self, tops: Vec<u32>, accepting: bool) -> Result<u32, TooMuch> {
        let stacks = Stacks { tops: tops.into(), accepting };
        if let Some(&known) = self.state_ids.get(&stacks) {
            return Ok(known);
        }
        let number = self.states.len();
        if number >= MOST_STATES {
            return Err(TooMuch(format!("it takes more than {MOST_STATES} states")));
        }
        self.states.push(State { stacks: stacks.clone(), next: None });
        self.state_ids.insert(stacks, number as u32);
        Ok(number as u32)
    }

    fn after_byte(&mut self, state: u32, byte: u8) -> Result<u32, TooMuch> {
        let next = self.states[state as usize].next.get_or_insert_with(|| Box::new([UNKNOWN; 256]));
        if next[byte as usize] != UNKNOWN {
            return Ok(next[byte as usize]);
        }
        let found = self.after(state, |element, rules| match element {
            Element::Bytes(set) => has(&rules.bytes[set as usize], byte),
            _ => false,
        })?;
        self.states[state as usize].next.as_mut().unwrap()[byte as usize] = found;
        Ok(found)
    }

    /// The state once one of these elements was met.
    fn after(
        &mut self,
        state: u32,
        meets: impl Fn(Element, &Rules) -> bool,
    ) -> Result<u32, TooMuch> {
        let open = self.states[state as usize]
            .stacks
            .tops
            .iter()
            .map(|&top| self.nodes[top as usize])
            .filter(|&(position, _)| meets(self.rules.elements[position as usize], &self.rules))
            .map(|(position, below)| (position + 1, below))
            .collect::<Vec<_>>();
        if open.is_empty() {
            Ok(DEAD)
        } else {
            self.settle(open)
        }
    }

    /// The states after a token's bytes, and after the token as one: where it is named, or any other is.
    fn after_token(&mut self, state: u32, token: TokenId, bytes: &[u8]) -> Result<u32, TooMuch> {
        let mut spelled = if bytes.is_empty() { DEAD } else { state };
        for &byte in bytes {
            spelled = self.after_byte(spelled, byte)?;
        }
        let named = self.after(state, |element, _| names(element, token))?;
        if named == DEAD || spelled == named {
            return Ok(spelled);
        }
        let [a, b] = [spelled, named].map(|state| &self.states[state as usize].stacks);
        let mut tops = [&a.tops[..], &b.tops[..]].concat();
        let accepting = a.accepting || b.accepting;
        tops.sort_unstable();
        tops.dedup();
        self.state(tops, accepting)
    }

    fn named_tokens(&self, state: u32) -> Vec<(TokenId, bool)> {
        let tops = self.states[state as usize].stacks.tops.iter();
        let elements = tops.map(|&top| self.rules.elements[self.nodes[top as usize].0 as usize]);
        elements
            .filter_map(|element| match element {
                Element::Token { id, negated } => Some((id, negated)),
                _ => None,
            })
            .collect()
    }
}

fn names(element: Element, token: TokenId) -> bool {
    matches!(element, Element::Token { id, negated } if (id == token) != negated)
}

/// A text of a grammar.
#[derive(Clone)]
pub struct Text {
    /// The state before the text, and after each token
    states: Vec<u32>,
}

impl Text {
    /// An empty text.
    pub fn new(automaton: &Automaton) -> Text {
        Text { states: vec![automaton.start] }
    }

    fn state(&self) -> u32 {
        *self.states.last().unwrap()
    }

    /// Which tokens may come next.
    pub fn mask(&self, automaton: &mut Automaton, tokens: &TokEnv) -> Result<SimpleVob, TooMuch> {
        let state = self.state();
        if let Some(known) = automaton.masks.get(&state) {
            return Ok(known.clone());
        }
        let trie = tokens.tok_trie();
        let mut mask = trie.alloc_token_set();
        for (id, negated) in automaton.named_tokens(state) {
            if negated {
                let is_allowed = mask.is_allowed(id);
                mask.set_all(true);
                mask.set(id as usize, is_allowed);
            } else {
                mask.allow_token(id);
            }
        }
        automaton.work = 0;
        let mut walk = Walk { automaton, states: vec![state], failure: None };
        trie.add_bias(&mut walk, &mut mask, &[]);
        if let Some(failure) = walk.failure {
            return Err(failure);
        }
        if automaton.masks.len() >= MOST_MASKS {
            automaton.masks.clear();
        }
        automaton.masks.insert(state, mask.clone());
        Ok(mask)
    }

    /// Lengthens the text; false where the token may not come next, and nothing has changed.
    pub fn take(
        &mut self,
        automaton: &mut Automaton,
        tokens: &TokEnv,
        token: TokenId,
    ) -> Result<bool, TooMuch> {
        automaton.work = 0;
        let bytes = tokens.tok_trie().token(token);
        let next = automaton.after_token(self.state(), token, bytes)?;
        if next != DEAD {
            self.states.push(next);
        }
        Ok(next != DEAD)
    }

    /// Takes the last tokens back.
    pub fn roll_back(&mut self, count: usize) {
        self.states.truncate(self.states.len() - count);
    }

    /// Whether the text may end.
    pub fn may_end(&self, automaton: &Automaton) -> bool {
        automaton.states[self.state() as usize].stacks.accepting
    }

    /// Whether nothing may follow.
    pub fn must_end(&self, automaton: &Automaton) -> bool {
        automaton.states[self.state() as usize].stacks.tops.is_empty()
    }

    /// The bytes that come next whatever is chosen, `most` of them at most.
    pub fn forced(&self, automaton: &mut Automaton, most: usize) -> Result<Vec<u8>, TooMuch> {
        let mut forced = Vec::new();
        let mut state = self.state();
        automaton.work = 0;
        while forced.len() < most && !automaton.states[state as usize].stacks.accepting {
            let Some(byte) = automaton.only_byte(state) else { break };
            forced.push(byte);
            state = automaton.after_byte(state, byte)?;
        }
        Ok(forced)
    }
}

impl Automaton {
    /// The one byte that may follow, where there is one.
    fn only_byte(&self, state: u32) -> Option<u8> {
        let mut all: ByteSet = [0; 4];
        for &top in self.states[state as usize].stacks.tops.iter() {
            match self.rules.elements[self.nodes[top as usize].0 as usize] {
                Element::Bytes(set) => {
                    for (word, more) in all.iter_mut().zip(self.rules.bytes[set as usize]) {
                        *word |= more;
                    }
                }
                _ => return None,
            }
        }
        let is_one = all.iter().map(|word| word.count_ones()).sum::<u32>() == 1;
        let word = all.iter().position(|&word| word != 0)?;
        is_one.then(|| (64 * word) as u8 + all[word].trailing_zeros() as u8)
    }
}

/// Walks the tokens' bytes.
struct Walk<'a> {
    automaton: &'a mut Automaton,
    states: Vec<u32>,
    failure: Option<TooMuch>,
}

impl Recognizer for Walk<'_> {
    fn pop_bytes(&mut self, count: usize) {
        self.states.truncate(self.states.len() - count);
    }

    fn collapse(&mut self) {
        self.states.drain(..self.states.len() - 1);
    }

    fn trie_finished(&mut self) {}

    fn try_push_byte(&mut self, byte: u8) -> bool {
        if self.failure.is_some() {
            return false;
        }
        match self.automaton.after_byte(*self.states.last().unwrap(), byte) {
            Ok(DEAD) => false,
            Ok(next) => {
                self.states.push(next);
                true
            }
            Err(failure) => {
                self.failure = Some(failure);
                false
            }
        }
    }
}
