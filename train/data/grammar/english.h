// The language of the dataset `grammar`: a fable told in a small English.
//
// What makes it worth learning: a verb agrees with its subject across relative clauses that may hold other nouns and
// nest ("The fox that many dogs that the king fears follow sleeps."). What makes its entropy known: every word but the
// first of a sentence brings the space before it, and the alternatives of a rule all begin with different words, none
// of which may follow the rule where it can be empty. So one word is enough to know which alternative it is, and no
// sentence can be read in two ways (the grammar is LL(1); a test checks it).
#pragma once

#include <string_view>

namespace monge::train {

inline constexpr std::string_view english = R"(
sentence   = 3 One does more end | 2 Many do more end
more       = 6 "" | link clause
clause     = 3 one does | 2 many do
link       = 3 ", and" | ", but" | ", while"
end        = 4 ". " | ".\n"

# Noun phrases of one and of many; a capital opens the sentence.
One        = The thing
Many       = Some things
one        = the thing
many       = some things
The        = 4 "The" | 2 "A" | "Every" | "My"
the        = 4 " the" | 2 " a" | " every" | " my"
Some       = 3 "Many" | 2 "Some" | "Two" | "These"
some       = 3 " many" | 2 " some" | " two" | " these"
thing      = describe noun which
things     = describe nouns who
describe   = 5 "" | 2 adjective describe
which      = 6 "" | " that" is
who        = 6 "" | " that" are

# What a relative clause says of its noun: what it does, or what is done to it.
is         = 3 does | one chases | many chase
are        = 3 do | one chases | many chase

# Verb phrases of one and of many.
does       = 3 sleeps where | 4 chases whom | says " that" clause
do         = 3 sleep where | 4 chase whom | say " that" clause
whom       = one | many
where      = 2 "" | near " the" place

adjective  = 4 " small" | 3 " grey" | 3 " quiet" | 2 " brave" | 2 " hungry" | " clever" | " tired" | " white"
noun       = 5 " cat" | 5 " dog" | 4 " fox" | 3 " mouse" | 3 " bird" | 2 " child" | 2 " king" | " sailor" | " wizard"
nouns      = 5 " cats" | 5 " dogs" | 4 " foxes" | 3 " mice" | 3 " birds" | 2 " children" | 2 " kings" | " sailors"
           | " wizards"
sleeps     = 4 " sleeps" | 3 " sings" | 3 " dances" | 2 " dreams" | 2 " waits" | " laughs"
sleep      = 4 " sleep" | 3 " sing" | 3 " dance" | 2 " dream" | 2 " wait" | " laugh"
chases     = 4 " chases" | 4 " sees" | 3 " loves" | 3 " follows" | 2 " finds" | 2 " fears" | " hears"
chase      = 4 " chase" | 4 " see" | 3 " love" | 3 " follow" | 2 " find" | 2 " fear" | " hear"
says       = 3 " says" | 2 " knows" | 2 " hopes" | " believes"
say        = 3 " say" | 2 " know" | 2 " hope" | " believe"
near       = 3 " near" | 2 " under" | 2 " behind" | " beside"
place      = 3 " river" | 3 " tree" | 2 " hill" | 2 " bridge" | 2 " moon" | " garden" | " tower"
)";

}  // namespace monge::train
