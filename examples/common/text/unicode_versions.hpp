// SPDX-License-Identifier: Apache-2.0
/// \file  Where the Unicode tables of Hugging Face's `tokenizers` (0.23) differ from those of utf8proc.
///
/// Its categories of BERT are those of Unicode 8 and its decompositions those of Unicode 9; GPT-2's pattern
/// has the letters and numbers of Unicode 16, and lower case is that of Unicode 17. utf8proc 2.8 has
/// Unicode 15. What is listed covers characters up to Unicode 17, so that an older or newer utf8proc gives
/// the same ids. O(log ranges) a character.
#pragma once

namespace smx_examples::unicode_versions {

bool mark_after_8(char32_t c);         ///< Mn that BERT does not strip.
bool punctuation_after_8(char32_t c);  ///< P that BERT does not split off.
bool format_after_8(char32_t c);       ///< Cf that BERT does not drop.
bool combining_after_9(char32_t c);    ///< Combining class 0 in BERT's NFD.
bool decomposed_after_9(char32_t c);   ///< Stays as it is in BERT's NFD.
bool letter_of_16(char32_t c);         ///< L since 15.1 or 16.
bool number_of_16(char32_t c);         ///< N since 15.1 or 16.
char32_t lower_after_15(char32_t c);   ///< The lower case of a capital since 16 or 17; 0 for others.

}  // namespace smx_examples::unicode_versions
