"""The methods that a study may cite: author, title, journal, volume, pages and year."""

REFERENCES = {
    "bell2002": (
        "Bell, Robert M. and McCaffrey, Daniel F.",
        "Bias reduction in standard errors for linear regression with multi-stage samples",
        *("Survey Methodology", "28", "169--181", "2002"),
    ),
    "benjamini1995": (
        "Benjamini, Yoav and Hochberg, Yosef",
        "Controlling the false discovery rate: a practical and powerful approach to multiple "
        "testing",
        *("Journal of the Royal Statistical Society, Series B", "57", "289--300", "1995"),
    ),
    "cameron2008": (
        "Cameron, A. Colin and Gelbach, Jonah B. and Miller, Douglas L.",
        "Bootstrap-based improvements for inference with clustered errors",
        *("Review of Economics and Statistics", "90", "414--427", "2008"),
    ),
    "dhaene2015": (
        "Dhaene, Geert and Jochmans, Koen",
        "Split-panel jackknife estimation of fixed-effect models",
        *("Review of Economic Studies", "82", "991--1030", "2015"),
    ),
    "durrleman1989": (
        "Durrleman, Sylvain and Simon, Richard",
        "Flexible regression models with cubic splines",
        *("Statistics in Medicine", "8", "551--561", "1989"),
    ),
    "holm1979": (
        "Holm, Sture",
        "A simple sequentially rejective multiple test procedure",
        *("Scandinavian Journal of Statistics", "6", "65--70", "1979"),
    ),
    "liang1986": (
        "Liang, Kung-Yee and Zeger, Scott L.",
        "Longitudinal data analysis using generalized linear models",
        *("Biometrika", "73", "13--22", "1986"),
    ),
    "mackinnon1985": (
        "MacKinnon, James G. and White, Halbert",
        "Some heteroskedasticity-consistent covariance matrix estimators with improved finite "
        "sample properties",
        *("Journal of Econometrics", "29", "305--325", "1985"),
    ),
    "mackinnon2023": (
        "MacKinnon, James G. and Nielsen, Morten {\\O}rregaard and Webb, Matthew D.",
        "Cluster-robust inference: a guide to empirical practice",
        *("Journal of Econometrics", "232", "272--299", "2023"),
    ),
    "newey1987": (
        "Newey, Whitney K. and West, Kenneth D.",
        "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent "
        "covariance matrix",
        *("Econometrica", "55", "703--708", "1987"),
    ),
    "nickell1981": (
        "Nickell, Stephen",
        "Biases in dynamic models with fixed effects",
        *("Econometrica", "49", "1417--1426", "1981"),
    ),
    "pustejovsky2018": (
        "Pustejovsky, James E. and Tipton, Elizabeth",
        "Small-sample methods for cluster-robust variance estimation and hypothesis testing in "
        "fixed effects models",
        *("Journal of Business \\& Economic Statistics", "36", "672--683", "2018"),
    ),
    "romano2005": (
        "Romano, Joseph P. and Wolf, Michael",
        "Exact and approximate stepdown methods for multiple hypothesis testing",
        *("Journal of the American Statistical Association", "100", "94--108", "2005"),
    ),
    "romano2016": (
        "Romano, Joseph P. and Wolf, Michael",
        "Efficient computation of adjusted p-values for resampling-based stepdown multiple testing",
        *("Statistics \\& Probability Letters", "113", "38--40", "2016"),
    ),
}
