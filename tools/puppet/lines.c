#include "puppet.h"

#include <stdio.h>
#include <string.h>

#define HELD_OUT 4 /* the last of each language are reserved for tests */

typedef struct language {
    const char *voice;
    const char *const *lines;
    size_t count;
} language;

static const char *const english[] = {
    "The weather will stay bright and warm until Sunday evening.",
    "Please put the blue box beside the old piano.",
    "My brother bought a boat and painted it yellow.",
    "Why do you always wake up before the alarm rings?",
    "Fresh bread, butter and a pot of tea make a fine breakfast.",
    "A famous painter lived above the shop for many years.",
    "We should leave the house before the traffic gets worse.",
    "Open the window and let the cold air move the papers.",
    "Few people know how much water a big tree can drink.",
    "The museum opens at nine and the guide speaks five languages.",
    "Her voice was calm, but her hands were moving all the time.",
    "I would rather walk home than wait for another bus.",
    "Both pupils wrote a poem about the moon and the sea.",
    "Sheep and goats slept on the wide green field.",
    "Could you measure the room for a new wooden floor?",
    "The judge thought about the question and shook his head.",
    "Thick fog covers the valley every morning in November.",
    "Maybe we will meet by the fountain after lunch.",
    "Pick up the phone, say your name and ask for Emma.",
    "The voyage was long, rough and full of surprises.",
    "He whistled a cheerful tune and polished his shoes.",
    "Above the village, five white houses look over the lake.",
    "What a pity that the film was over so soon.",
    "Small steps every day bring you to the top of a mountain.",
    "Good morning everybody, and welcome to the show.",
    "A quick brown fox jumps over the lazy dog.",
    "Father made a wooden table from the apple tree.",
    "You can follow the river to find our farm."};
static const char *const german[] = {"Heute Abend spielt die Kapelle auf dem großen Marktplatz.",
                                     "Mein Bruder hat ein altes Boot gekauft und blau gestrichen.",
                                     "Warum wachst du immer vor dem Wecker auf?",
                                     "Bitte öffne das Fenster, es ist viel zu warm hier.",
                                     "Am Wochenende fahren wir mit dem Zug in die Berge.",
                                     "Die Bäckerei verkauft frisches Brot und süße Brötchen.",
                                     "Ein Apfel am Morgen macht müde Menschen munter.",
                                     "Der Arzt fragte freundlich, wie es der Mutter gehe.",
                                     "Fünf Vögel saßen auf dem Dach und pfiffen ein Lied.",
                                     "Ohne Brille kann ich die Zeitung kaum lesen.",
                                     "Das Wasser im See ist klar und überraschend kalt.",
                                     "Wir bauen ein neues Haus am Rand der Stadt.",
                                     "Guten Morgen, wie haben Sie heute geschlafen?",
                                     "Der Müller mahlt das Korn in der alten Mühle.",
                                     "Am Abend wurde es plötzlich still im ganzen Haus.",
                                     "Viele bunte Blumen wachsen vor unserer Tür."};
static const char *const french[] = {"Le petit bateau bleu est parti vers la mer ce matin.",
                                     "Nous avons mangé du pain frais avec un peu de beurre.",
                                     "Pourquoi ouvres-tu toujours la fenêtre quand il fait froid?",
                                     "Ma voisine parle beaucoup, mais elle chante encore plus.",
                                     "Il faut tourner à gauche après le vieux pont.",
                                     "Les enfants jouent au ballon devant la maison.",
                                     "Un jour de pluie, le musée est toujours plein de monde.",
                                     "Je voudrais une tasse de café et un verre d'eau.",
                                     "Le professeur a posé une question très simple.",
                                     "Deux oiseaux dorment dans le grand arbre du jardin.",
                                     "La musique commence à huit heures précises.",
                                     "Voulez-vous venir avec nous au marché demain?",
                                     "Bonjour à tous, et bienvenue dans notre maison.",
                                     "Le boulanger prépare ses gâteaux pendant la nuit.",
                                     "Une belle femme porte un chapeau de paille.",
                                     "On a vu passer cinq voitures rouges."};
static const char *const spanish[] = {"El barco azul salió del puerto muy temprano.",
                                      "Mi hermano compró una guitarra y aprendió a tocar.",
                                      "Por favor, abre la ventana y mira las montañas.",
                                      "La panadería de la esquina vende pan todos los días.",
                                      "Mañana vamos a visitar el museo con los abuelos.",
                                      "Cinco gatos duermen bajo la mesa de la cocina.",
                                      "El profesor habla despacio para que todos entiendan.",
                                      "Me gusta caminar por la playa cuando hace viento.",
                                      "Una buena pregunta vale más que una mala respuesta.",
                                      "La lluvia mojó todos los papeles de la oficina.",
                                      "Vamos a preparar una comida para toda la familia.",
                                      "El pájaro pequeño vive en un árbol muy alto.",
                                      "Buenos días a todos, empezamos con las noticias.",
                                      "Bebe un vaso de agua antes de subir.",
                                      "El fuego del hogar iluminaba la habitación.",
                                      "Nunca había visto una flor tan hermosa."};
static const char *const italian[] = {"Domani mattina partiamo presto per la montagna.",
                                      "Mio fratello ha comprato una barca bianca e blu.",
                                      "Per favore, apri la finestra e chiudi la porta.",
                                      "Il pane fresco con un poco di burro è molto buono.",
                                      "La musica comincia alle otto in piazza grande.",
                                      "Cinque bambini giocano con una palla rossa.",
                                      "Vorrei un bicchiere di acqua e un caffè.",
                                      "Il professore fa sempre domande molto semplici.",
                                      "Una volpe veloce salta sopra il cane pigro.",
                                      "Dopo la pioggia il cielo è sempre più azzurro.",
                                      "Mia nonna prepara la pasta ogni domenica.",
                                      "Il vecchio ponte attraversa un fiume tranquillo.",
                                      "Buongiorno a tutti e benvenuti al programma.",
                                      "Abbiamo visto un film bello ma troppo lungo.",
                                      "Le foglie cadono piano davanti alla casa.",
                                      "Chi va piano va sano e va lontano."};

#define LANGUAGE(voice, lines)                                                                     \
    {                                                                                              \
        voice, lines, sizeof lines / sizeof *lines                                                 \
    }
static const language languages[] = {LANGUAGE("en-us", english), LANGUAGE("en", english),
                                     LANGUAGE("de", german),     LANGUAGE("fr", french),
                                     LANGUAGE("es", spanish),    LANGUAGE("it", italian)};
static const char *const variants[] = {"", "+m1", "+m3", "+m7", "+f1", "+f2", "+f4", "+f5"};

/* Word `k` of all words of the lines that are not held out. */
static void append_word(char *text, size_t size, const language *l, uint64_t k)
{
    size_t total = 0, n = strlen(text);
    for (int pass = 0; pass < 2; pass++) {
        size_t index = 0;
        for (size_t i = 0; i + HELD_OUT < l->count; i++)
            for (const char *w = l->lines[i]; *w; index++) {
                size_t bytes = strcspn(w, " ");
                if (pass && index == k % total) {
                    snprintf(text + n, size - n, "%s%.*s", n ? " " : "", (int)bytes, w);
                    return;
                }
                w += bytes + strspn(w + bytes, " ");
            }
        total = index;
    }
}

void puppet_line_from(puppet_line *l, uint64_t seed, bool held_out)
{
    puppet_random r = {seed * 77777777u + 5};
    const language *lang = &languages[puppet_next(&r) % (sizeof languages / sizeof *languages)];
    const char *variant = variants[puppet_next(&r) % (sizeof variants / sizeof *variants)];
    l->rate = (int)puppet_uniform(&r, 125, 185);
    l->pitch = (int)puppet_uniform(&r, 25, 75);
    snprintf(l->voice, sizeof l->voice, "%s%s", lang->voice, variant);
    l->text[0] = '\0';
    const size_t kept = lang->count - HELD_OUT;
    if (held_out)
        snprintf(l->text, sizeof l->text, "%s", lang->lines[kept + puppet_next(&r) % HELD_OUT]);
    else if (puppet_next(&r) % 3 == 0)
        snprintf(l->text, sizeof l->text, "%s", lang->lines[puppet_next(&r) % kept]);
    else // words in random order
        for (uint64_t words = 6 + puppet_next(&r) % 6; words; words--)
            append_word(l->text, sizeof l->text, lang, puppet_next(&r));
}
