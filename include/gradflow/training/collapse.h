#pragma once

#include <limits>

#include "gradflow/base/types.h"
#include "gradflow/inference/classification_scores.h"

namespace gradflow {

/// Neural collapse: how near the last layer's features h_i (n x p) of labelled rows are to one point for each
/// class, and those points to the corners of a simplex that the last layer's weights share.
///
///     mu_c = mean of class c,   mu = mean_c mu_c,   m_c = mu_c - mu,   M = (m_c), K x p
///     S_W = mean_c mean_{i in c} (h_i - mu_c)(h_i - mu_c)',   S_B = mean_c m_c m_c'
///
///     spread    NC1   tr(S_W S_B^+) / K
///     norms     NC2   sd_c |m_c| / mean_c |m_c|                    (equal lengths)
///     angles    NC2   mean_{c != d} | cos(m_c, m_d) + 1/(K - 1) |  (equal angles, as wide as can be)
///     duality   NC3   | W / |W|_F - M / |M|_F |_F,                 W (K x p) less the mean of its rows
///     nearest   NC4   share of rows whose nearest mu_c is not the class of their largest score
///
/// All are >= 0 and 0 in full collapse; duality is at most 2, nearest at most 1. Every class counts alike:
/// where classes are of unequal size the means are over classes of means over rows, which for equal sizes is
/// the source's mean over rows. The mean row of W moves all scores of a row alike, which says nothing of
/// classes; the source's weight decay takes it away, and here it is taken out. Two classes are always of
/// equal norms and opposite: both NC2 are then 0.
///
/// Laws: all are unchanged by a rotation, a shift or a scale of the features (with W rotated too, by any
/// scale). spread is unchanged by every invertible linear map of the features where the within-class
/// deviations lie in the span of M (as with p = K - 1, or n - K deviations that have none outside); beyond
/// that span the pseudo-inverse makes it depend on the map.
///
/// Classes without a row among these take no part, and K counts the others. NaN: spread, norms and duality
/// where all class means are one point (to 1e-12 of the features' length), angles where one of them is mu,
/// duality where W's rows are equal, and everything for fewer than two classes. S_B's eigenvalues below 1e-12
/// of its largest count as zero. Cost n p K multiply-adds. Source: Papyan, Han and Donoho (2020), Prevalence
/// of neural collapse during the terminal phase of deep learning training, PNAS 117, 24652.
struct Collapse {
  double spread = std::numeric_limits<double>::quiet_NaN();
  double norms = std::numeric_limits<double>::quiet_NaN();
  double angles = std::numeric_limits<double>::quiet_NaN();
  double duality = std::numeric_limits<double>::quiet_NaN();
  double nearest = std::numeric_limits<double>::quiet_NaN();
};

/// features n x p, weights K x p, scores n x K. Throws InputError for shapes that disagree and labels out of
/// range.
Collapse neural_collapse(ConstBlock features, const Labels& labels, ConstBlock weights, ConstBlock scores);

/// Margins m_i = (score of the row's class) - (largest other score), K >= 2:
///
///     least    the smallest
///     low      the 5 % quantile: the smallest value that at least 5 % of the margins do not exceed
///     median   the 50 % quantile likewise
///     scale    root mean square of the scores less each row's mean: margins over it do not change when all
///              scores are multiplied by one number, as they are while cross-entropy drives them apart
struct Margins {
  double least = std::numeric_limits<double>::quiet_NaN();
  double low = std::numeric_limits<double>::quiet_NaN();
  double median = std::numeric_limits<double>::quiet_NaN();
  double scale = std::numeric_limits<double>::quiet_NaN();
};
Margins margins(ConstBlock scores, const Labels& labels);

/// The labels that a matrix of indicators says, one 1 in each row and K - 1 zeros; empty for any other
/// matrix, and for K < 2.
Labels labels_of_indicators(ConstBlock Y);
/// n x K indicators of labels 0, ..., K - 1.
Matrix indicators(const Labels& labels, Index classes);

}  // namespace gradflow
